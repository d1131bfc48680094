#include "plugins/s3/command/block_handover.hpp"

#include <algorithm>
#include <cstdint>

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

}  // namespace

RememberedVolume remembered(const VolumeLayout& layout) {
  return {.place = layout.place,
          .key = layout.key,
          .id = layout.id,
          .block_count = BlockGeometry(layout.size_bytes, layout.object_size).block_count()};
}

RememberedVolume remembered(const FoundVolume& volume) {
  return {.place = volume.place,
          .key = volume.key,
          .id = volume.descriptor->descriptor.id,
          .block_count = volume.block_count()};
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
