#include "filters/readahead/readahead_export.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kPiece_bytes_max = 1ULL << 20U;

// Pieces are whole objects of the layer below, within its maximum request.
std::uint64_t largest_piece(const ReadaheadOptions& options, const LayerTraits& below) {
  std::uint64_t piece = std::max<std::uint64_t>(kPiece_bytes_max, below.preferred_block_size);
  if (below.maximum_block_size != 0) {
    piece = std::min<std::uint64_t>(piece, below.maximum_block_size);
  }
  return std::max<std::uint64_t>(
      {std::min(piece, options.most_bytes_in_flight), below.minimum_block_size, 1});
}

PlannerOptions planner_options(const ReadaheadOptions& options, const LayerTraits& below) {
  return {.disk_size_bytes = below.size_bytes,
          .streams = options.streams,
          .window = {.first_bytes = options.first_window_bytes,
                     .largest_bytes = options.largest_window_bytes,
                     .preferred_block_size = std::max(below.preferred_block_size, 1U),
                     .minimum_block_size = std::max(below.minimum_block_size, 1U)},
          .largest_piece_bytes = largest_piece(options, below),
          .counters = options.counters};
}

}  // namespace

ReadaheadExport::ReadaheadExport(const ReadaheadOptions& options, const LayerTraits& below,
                                 PrefetchThreads& threads)
    : options_(options),
      parallel_(below.parallel),
      threads_(threads),
      planner_(planner_options(options, below)) {}

void ReadaheadExport::read_begins(const Range& read, const std::shared_ptr<LentLayer>& below) {
  std::vector<Range> pieces;
  {
    const MutexLock lock(mutex_);
    pieces = planner_.read_begins(read);
    if (!parallel_) for_readers_.insert(for_readers_.end(), pieces.begin(), pieces.end());
  }
  for (const Range& piece : pieces) {
    if (options_.verbose) {
      log::debug("readahead: asking for {} bytes at {}", piece.length, piece.offset);
    }
    if (parallel_) fetch_in_background(piece, below);
  }
}

void ReadaheadExport::read_ends(const Range& read) {
  const MutexLock lock(mutex_);
  planner_.read_ends(read);
}

void ReadaheadExport::fetch_in_background(const Range& piece,
                                          const std::shared_ptr<LentLayer>& below) {
  auto job = [self = shared_from_this(), piece, below] {
    if (self->options_.server_stops()) self->threads_.give_up();
    const bool wanted = !self->threads_.is_stopping();
    if (!wanted || !below->with([&](Layer& layer) { self->fetch(layer, piece); }))
      self->drop(piece);
  };
  if (!threads_.submit(piece.length, std::move(job))) drop(piece);
}

void ReadaheadExport::drop(const Range& piece) {
  const MutexLock lock(mutex_);
  planner_.fetch_dropped(piece);
}

void ReadaheadExport::fetch_for_reader(Layer& below) {
  if (parallel_) return;
  Range piece;
  do {
    const MutexLock lock(mutex_);
    if (for_readers_.empty()) return;
    piece = for_readers_.front();
    for_readers_.pop_front();
  } while (!fetch(below, piece));
}

bool ReadaheadExport::fetch(Layer& below, const Range& piece) {
  std::vector<Range> parts;
  {
    const MutexLock lock(mutex_);
    parts = planner_.fetch_begins(piece);
  }
  const Range disk{0, below.traits().size_bytes};  // of this connection: it may have shrunk
  for (const Range& part : parts) {
    try {
      const Range there = disk.intersection(part);
      if (!there.empty()) below.cache(there.length, there.offset);
    } catch (const std::exception& error) {
      log::debug("readahead: fetching {} bytes at {} failed: {}", part.length, part.offset,
                 *error.what() == '\0' ? "the layer below has said why" : error.what());
      const MutexLock lock(mutex_);
      planner_.fetch_failed(part);
    }
  }
  return !parts.empty();
}

}  // namespace nbdstack
