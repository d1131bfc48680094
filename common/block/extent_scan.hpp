// A scan of a whole disk's extents in the background, so that clients find them known.
//
// The scan makes one query at a time, from the beginning to the end, once, over the layer that
// BackgroundBelow finds; if there is none now, the scan continues when it is woken. It is a hint:
// if it ends early, everything learnt until then stays.
//
//   it ends early                              why
//   at a failure (see Settings)                the rest is learnt from clients' requests
//   when anything known was forgotten          there is no room for more
//   after kQueriesMax                          a disk of 8 EiB of which the layer below reports
//                                              2 GiB at a time would keep both busy for ever
//
// It has a thread of its own, started after the server has forked, and stopped while the layers
// below still exist. Stopping, and a client that leaves, wait for the query in flight.
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

  // Queries the extents from `position` on, unless they are known, and learns the reply. Returns
  // the end of the known part, or of the reply.
  using Step = std::function<std::uint64_t(Layer& below, std::uint64_t position)>;

  struct Settings {
    std::string name;  // for the log
    std::uint64_t size_bytes = 0;
    // Called when a query has failed; returns whether that ends the scan. If not, the query is made
    // once more, on another layer if there is one: a layer below may have been told to hurry
    // because its client leaves.
    std::function<bool()> ends_at_failure = [] { return true; };
  };

  // `known` outlives the scan.
  ExtentScan(Settings settings, const KnownRanges& known, std::unique_ptr<BackgroundBelow> below,
             Step step);

  // Called when there may be a layer again.
  void wake() { thread_.wake(); }
  // Lets no further query begin.
  void request_stop() { thread_.request_stop(); }
  void stop() { thread_.stop(); }
  // Waits until the scan has ended, early or not.
  void wait() const { ended_.wait(false); }

 private:
  void main(StoppableThread& self);
  void scan(StoppableThread& self);
  void advance(Layer& below);

  const Settings settings_;
  const KnownRanges& known_;
  std::unique_ptr<BackgroundBelow> below_;  // null once the scan has ended
  const Step step_;
  std::uint64_t position_ = 0;
  std::atomic<bool> ended_{false};
  StoppableThread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
