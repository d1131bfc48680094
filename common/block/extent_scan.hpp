// A scan of a whole disk's extents in the background, so that clients find them known.
//
// One query at a time, from the beginning to the end, once, over the layer that BackgroundBelow
// finds; where there is none now, it goes on when it is woken. It is a hint: what has been learnt
// when it ends early stays.
//
//   it ends early                              why
//   at a failure (see Settings)                the rest is learnt from what passes
//   when anything known was forgotten          there is no room for more
//   after kQueriesMax                          a disk of 8 EiB of which the layer below tells 2 GiB
//                                              at a time would keep both busy for ever
//
// A thread of its own, started after the server has forked; stopped before the chain below is gone.
// Stopping, and a client that leaves, wait for the query that is under way.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/block/background_below.hpp"
#include "common/block/known_ranges.hpp"
#include "common/block/layer.hpp"
#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class ExtentScan {
 public:
  static constexpr std::size_t kQueriesMax = 1U << 16U;

  // Asks about what lies from `position` on, where that is not known, and learns what the reply says.
  // Returns where what is known, or was told, ends.
  using Step = std::function<std::uint64_t(Layer& below, std::uint64_t position)>;

  struct Settings {
    std::string name;  // for the log
    std::uint64_t size_bytes = 0;
    // Called when a query has failed: whether that ends the scan. If not, it is asked once more, on
    // another layer where there is one: a layer below may have been told to hurry because its client
    // leaves.
    std::function<bool()> ends_at_failure = [] { return true; };
  };

  // `known` outlives the scan.
  ExtentScan(Settings settings, const KnownRanges& known, std::unique_ptr<BackgroundBelow> below,
             Step step);

  // There may be a layer again.
  void wake() { thread_.wake(); }
  // No further query is begun.
  void request_stop() { thread_.request_stop(); }
  void stop() { thread_.stop(); }
  // Until it has ended, one way or the other.
  void wait() const { ended_.wait(false); }

 private:
  void main(StoppableThread& self);
  void scan(StoppableThread& self);
  void advance(Layer& below);

  const Settings settings_;
  const KnownRanges& known_;
  std::unique_ptr<BackgroundBelow> below_;  // gone when the scan has ended
  const Step step_;
  std::uint64_t position_ = 0;
  std::atomic<bool> ended_{false};
  StoppableThread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
