// The plan of a read.
#pragma once

#include <cerrno>
#include <memory>
#include <vector>

#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

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
  std::vector<BlockPiece> zeros;  // remembered as ranges
  Fetches::Started started;       // those of `fetched` that this read has to run
  std::vector<BlockPiece> later;  // to be planned again
  bool damaged = false;           // part of it is lost
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
