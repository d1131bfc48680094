// A request for missing blocks, from the moment it is planned until its data is stored or dropped.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/sync/mutex.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {

// The longest request sent below, and the memory that one takes while it is under way.
inline constexpr std::uint64_t kLongestFetch_bytes = 32ULL << 20U;

// A run of consecutive blocks, read from below in one request by the one who started it. Whoever
// else needs pages of one of the blocks that are not valid waits until `done` and takes them from
// the buffer, also while it is being stored. While a fetch lies in BlockCache::fetches_ under a
// block's number, that block may be joined and will be stored if wanted; who makes what was read
// obsolete takes it out.
//
// A fetch may be widened by missing neighbours (CacheSettings::fetch_bytes). That is a hint, so the
// failure of a widened fetch is no error: whoever needs a block of it asks again, for that alone.
//
// All members but the buffer's bytes are protected by BlockCache::mutex_. The bytes are written by
// the one who runs the fetch before `done`, and only read after.
struct BlockCache::Fetch {
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

// How a read is going to be served, piece by piece.
struct BlockCache::ReadPlan {
  struct Cached {
    Slot slot;  // pinned
    BlockPiece piece;
    PageMask zero;  // pages of it that have no storage
  };
  struct Fetched {
    std::shared_ptr<Fetch> fetch;
    BlockPiece piece;
    bool failed = false;  // as seen with the mutex held, when the fetch was done
  };
  std::vector<Cached> cached;
  std::vector<Fetched> fetched;
  std::vector<BlockPiece> zeros;                // remembered as ranges
  std::vector<std::shared_ptr<Fetch>> started;  // those of `fetched` that this read has to run
  std::vector<BlockPiece> later;                // to be planned again
  bool damaged = false;                         // part of it is lost
};

// While it lives, `plan` may be made and used by its caller, who does not hold the mutex when it goes.
class BlockCache::PlanInUse {
 public:
  PlanInUse(BlockCache& cache, ReadPlan& plan) : cache_(cache), plan_(plan) {}
  PlanInUse(const PlanInUse&) = delete;
  PlanInUse& operator=(const PlanInUse&) = delete;
  ~PlanInUse() {
    if (plan_.cached.empty() && plan_.started.empty()) return;
    const MutexLock lock(cache_.mutex_);
    cache_.give_back_all(plan_);
    cache_.abandon(plan_, ENOMEM);
  }

 private:
  BlockCache& cache_;
  ReadPlan& plan_;
};

}  // namespace nbdstack
