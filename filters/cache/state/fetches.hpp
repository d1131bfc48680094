// Externally synchronized: the requests for missing blocks that are under way, and who may join them.
//
// There is one fetch a block, however many wait for it; neighbouring missing blocks are one request.
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

// The longest request sent below, and the memory that one takes while it is under way.
inline constexpr std::uint64_t kLongestFetch_bytes = 32ULL << 20U;

// A run of consecutive blocks, read from below in one request by the caller that started it. Another
// caller that needs pages of one of the blocks waits until `done` and takes them from the buffer,
// also while it is being stored.
//
// A fetch may be widened by missing neighbours (CacheSettings::fetch_bytes). That is a hint, so the
// failure of a widened fetch is no error: whoever needs a block of it asks again, for that alone.
//
// The buffer's bytes are written by the caller that runs the fetch before `done`, and only read
// after, which needs no mutex.
struct Fetch {
  BlockNumber first;
  std::vector<bool> store;  // one a block: keep it in the cache
  bool widened = false;     // blocks were added that nobody had asked for

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

  // The fetch of a block that may be joined, or null.
  [[nodiscard]] std::shared_ptr<Fetch> find(BlockNumber block) const;
  // The same, or a new one, which the caller runs. `started` are the caller's new ones: blocks asked
  // for one after the other in ascending order become one fetch. Where it may not be shared, a new
  // one is joined by nobody else and not stored.
  std::shared_ptr<Fetch> join_or_start(BlockNumber block, bool store, bool may_share,
                                       Started& started);
  // Adds the missing neighbours within the aligned group, as far as they adjoin what is fetched.
  void widen(const std::shared_ptr<Fetch>& fetch, std::uint64_t group_bytes,
             const std::function<bool(BlockNumber)>& is_wanted);
  // Whether what has been read of the block may be stored: it is wanted, and not obsolete.
  [[nodiscard]] bool may_store(const Fetch& fetch, BlockNumber block) const;

  // What has been read is not what the block is now: nobody joins its fetch any more, and it is not
  // stored.
  void supersede(BlockNumber block) { joinable_.erase(block); }
  void supersede(const Range& range);

  // The data is in memory; until it is stored, the fetch may be joined.
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
