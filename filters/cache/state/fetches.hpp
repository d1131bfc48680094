// Externally synchronized: the requests for missing blocks that are under way, and their sharing.
//
// Any number of callers share one fetch of a block; neighbouring missing blocks are one request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// The longest request sent below, which is also the memory that it needs while it is under way.
inline constexpr std::uint64_t kLongestFetch_bytes = 32ULL << 20U;

// A run of consecutive blocks, read from below in one request by the caller that started it.
// Another caller that needs pages of one of the blocks waits until `done` and copies them from the
// buffer, even while it is being stored.
//
// A fetch may be widened by missing neighbours (CacheSettings::fetch_bytes). That is a hint, so the
// failure of a widened fetch is no error: a caller that needs a block of it fetches that alone.
//
// The caller that runs the fetch writes the buffer's bytes before `done`; after that they are only
// read, without the mutex.
struct Fetch {
  BlockNumber first;
  std::vector<bool> store;  // for each block: whether the cache keeps it
  bool widened = false;     // blocks were added that no caller requested

  bool done = false;
  bool over = false;  // done, and nothing is stored any more
  int error_code = 0;
  ConditionVariable finished;

  std::unique_ptr<std::byte[]> buffer;
  std::uint64_t offset = 0;  // of the first block on the disk
  std::size_t length = 0;

  [[nodiscard]] BlockNumber end() const { return {first.value + store.size()}; }
  [[nodiscard]] std::span<const std::byte> bytes(std::uint64_t at, std::size_t count) const {
    return {buffer.get() + (at - offset), count};
  }
};

class Fetches {
 public:
  using Started = std::vector<std::shared_ptr<Fetch>>;

  explicit Fetches(const BlockGeometry& geometry) : geometry_(geometry) {}

  // Returns the fetch of a block that may be joined, or null.
  [[nodiscard]] std::shared_ptr<Fetch> find(BlockNumber block) const;
  // Returns find(), or a new fetch, which the caller runs. `started` are the caller's new ones:
  // blocks requested one after the other in ascending order become one fetch. If `may_share` is
  // false, no other caller joins a new one, and it is not stored.
  std::shared_ptr<Fetch> join_or_start(BlockNumber block, bool store, bool may_share,
                                       Started& started);
  // Adds missing neighbours within the aligned group, as far as they adjoin the fetched blocks.
  void widen(const std::shared_ptr<Fetch>& fetch, std::uint64_t group_bytes,
             const std::function<bool(BlockNumber)>& is_wanted);
  // Returns whether the block's fetched content may be stored: it is wanted and not obsolete.
  [[nodiscard]] bool may_store(const Fetch& fetch, BlockNumber block) const;

  // The fetched content is obsolete: no caller joins the block's fetch any more, and it is not
  // stored.
  void supersede(BlockNumber block) { joinable_.erase(block); }
  void supersede(const Range& range);

  // The data is in memory; until it is stored, other callers may join the fetch.
  static void done(Fetch& fetch);
  void end(Fetch& fetch, int error_code);
  void wait_for(Fetch& fetch, Mutex& mutex) REQUIRES(mutex);
  [[nodiscard]] std::size_t waiting() const { return waiting_; }

 private:
  [[nodiscard]] bool is_current(const Fetch& fetch, BlockNumber block) const;

  const BlockGeometry& geometry_;
  std::unordered_map<BlockNumber, std::shared_ptr<Fetch>> joinable_;
  std::size_t waiting_ = 0;
};

}  // namespace nbdstack
