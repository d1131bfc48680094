#include "plugins/s3/command/block_handover.hpp"

#include <algorithm>
#include <cstdint>

#include "common/log.hpp"

namespace nbdstack {
namespace {

KnownBlocks up_to(const KnownBlocks& known, std::uint64_t block_count) {
  KnownBlocks clipped;
  for (KnownRun run : known) {
    if (run.blocks.offset >= block_count) break;
    run.blocks.length = std::min(run.blocks.length, block_count - run.blocks.offset);
    clipped.push_back(run);
  }
  return clipped;
}

// Returns whether `known` covers each block of [first, end).
bool covers(const KnownBlocks& known, std::uint64_t first, std::uint64_t end) {
  for (const KnownRun& run : known) {
    if (run.blocks.offset <= first && run.blocks.end() > first) first = run.blocks.end();
  }
  return first >= end;
}

}  // namespace

RememberedVolume remembered(const FoundVolume& volume) {
  return {.place = volume.place,
          .key = volume.key,
          .id = volume.id(),
          .block_count = volume.block_count()};
}

void say_what_may_be_left(const ObjectStore& store, const KnownBlocks& recorded,
                          std::uint64_t first, std::uint64_t end) {
  if (store.lists_are_proof() || covers(recorded, first, end)) return;
  log::error(
      "no record says which blocks were stored (the last server was killed, or is an older "
      "version): objects which listings do not show yet may be left");
}

bool BlockHandover::is_recorded() const {
  return !store_.lists_are_proof() && lease_.is_exclusive();
}

KnownBlocks BlockHandover::recall(const RememberedVolume& volume) const {
  if (!is_recorded()) return {};
  return BlockMemory(volume, processes_).recall(store_, lease_.predecessor());
}

void BlockHandover::hand_on(const RememberedVolume& volume, const KnownBlocks& known) const {
  if (!is_recorded() || known.empty() || !lease_.may_write()) return;
  BlockMemory(volume, processes_)
      .remember(store_, lease_.conditions(), lease_.owner(), up_to(known, volume.block_count));
}

}  // namespace nbdstack
