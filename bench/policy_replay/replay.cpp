#include "bench/policy_replay/replay.hpp"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nbdstack {
namespace {

class ContentlessCache {
 public:
  ContentlessCache(std::unique_ptr<EvictionPolicy> policy, std::uint64_t slots)
      : policy_(std::move(policy)), slots_(slots) {}

  // Returns whether the block was cached; it is afterwards.
  bool ask_for(BlockNumber block) {
    if (const auto found = slot_of_.find(block); found != slot_of_.end()) {
      policy_->used(found->second);
      return true;
    }
    const Slot slot = block_of_.size() < slots_ ? new_slot() : evict();
    block_of_[slot] = block;
    slot_of_.emplace(block, slot);
    policy_->inserted(slot, block);
    return false;
  }

 private:
  Slot new_slot() {
    block_of_.emplace_back();
    return static_cast<Slot>(block_of_.size() - 1);
  }

  Slot evict() {
    const Slot slot = policy_->victim([](Slot) { return true; });
    const BlockNumber block = block_of_[slot];
    policy_->removed(slot, block, EvictionPolicy::Removal::evicted);
    slot_of_.erase(block);
    return slot;
  }

  std::unique_ptr<EvictionPolicy> policy_;
  std::uint64_t slots_;
  std::vector<BlockNumber> block_of_;  // by slot
  std::unordered_map<BlockNumber, Slot> slot_of_;
};

// Returns the bytes that the scan has read when `done` of `all` requests of the trace are made.
std::uint64_t scan_goal(std::size_t done, std::size_t all, std::uint64_t disk_bytes) {
  const double share = (static_cast<double>(done) / static_cast<double>(all) - 0.25) / 0.5;
  return static_cast<std::uint64_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(disk_bytes));
}

}  // namespace

ReplayResult replay(const Trace& trace, std::unique_ptr<EvictionPolicy> policy,
                    std::uint64_t cache_bytes, std::uint32_t block_size, Scan scan) {
  const BlockGeometry geometry(trace.disk_bytes, block_size);
  ContentlessCache cache(std::move(policy), std::max<std::uint64_t>(1, cache_bytes / block_size));
  ReplayResult result;
  std::uint64_t scanned = 0;
  std::size_t done = 0;
  for (const TracedRequest& request : trace.requests) {
    for (const BlockPiece& piece : geometry.split(request.bytes)) {
      ++result.accesses;
      if (cache.ask_for(piece.block)) continue;
      ++result.misses;
      if (!request.is_write) ++result.read_misses;
    }
    ++done;
    if (scan.request_bytes == 0) continue;
    const std::uint64_t goal = scan_goal(done, trace.requests.size(), trace.disk_bytes);
    while (scanned < goal) {
      const Range next{scanned, std::min(scan.request_bytes, trace.disk_bytes - scanned)};
      for (const BlockPiece& piece : geometry.split(next)) cache.ask_for(piece.block);
      scanned = next.end();
    }
  }
  return result;
}

}  // namespace nbdstack
