// Reads and prefetches: cached content is copied, missing content is fetched from the layer below.
//
// A fill never overwrites anything: it stores only pages that are not valid once it owns them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/block/layer.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/engine/guarded_state.hpp"

namespace nbdstack {

class Reads {
 public:
  // `threads` outlive this.
  Reads(GuardedState& state, WorkerPool& threads) : state_(state), threads_(threads) {}

  void read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset);
  // Loads a range for later. This is a hint: a failure is logged, and not reported.
  void prefetch(Layer& below, const Range& range);
  // Reads part of a block, for a writer that completes pages: from a fetch under way or from below.
  void read_part(Layer& below, const Range& range, std::span<std::byte> buffer);

 private:
  struct Plan;

  bool read_hit(const Range& range, std::span<std::byte> buffer);
  void read_planned(Layer& below, std::span<std::byte> buffer, std::uint64_t offset);
  void make_plan(Plan& plan, const std::vector<BlockPiece>& pieces, bool store)
      REQUIRES(state_.mutex);
  void plan_piece(Plan& plan, const BlockPiece& piece, bool store) REQUIRES(state_.mutex);
  std::shared_ptr<Fetch> join_or_start_fetch(BlockNumber block, bool store,
                                             Fetches::Started& started) REQUIRES(state_.mutex);
  void copy_cached(Plan& plan, std::span<std::byte> buffer);
  void widen(const std::shared_ptr<Fetch>& fetch) REQUIRES(state_.mutex);
  void run_fetches(Layer& below, const Fetches::Started& fetches);
  void run_fetch(Layer& below, Fetch& fetch);
  void store_fetched(Fetch& fetch, BlockNumber block);

  GuardedState& state_;
  WorkerPool& threads_;
};

}  // namespace nbdstack
