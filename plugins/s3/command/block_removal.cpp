#include "plugins/s3/command/block_removal.hpp"

#include <utility>
#include <vector>

#include "common/block/run_map.hpp"
#include "common/log.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/command/bounded_work.hpp"

namespace nbdstack {

namespace {

RunMap<bool> recorded_in(const KnownBlocks& recorded, const Range& range) {
  RunMap<bool> stored;
  for (const KnownRun& run : recorded) {
    if (run.stored && run.blocks.overlaps(range)) {
      stored.assign(run.blocks.intersection(range), true);
    }
  }
  return stored;
}

}  // namespace

void BlockRemoval::remove(BlockNumber first, BlockNumber end) {
  using Targets = std::vector<GuardedChanges::Target>;
  BoundedWork<Targets> removing(options_.requests, [&](const Targets& targets) {
    if (options_.check_writable) options_.check_writable();
    changes_.remove(targets);
    const MutexLock lock(counting_);
    removed_ += targets.size();
    if (options_.progress) options_.progress(removed_);
  });
  Targets batch;
  bool wanted = true;
  const auto add = [&](BlockNumber block) {
    batch.push_back({block, format_.name_of(block)});
    if (batch.size() == BlockObjects::kBatch) wanted = removing.give(std::exchange(batch, {}));
  };
  RunMap<bool> hidden = recorded_in(options_.recorded, {first.value, end.value - first.value});
  BlockListing(store_, format_, options_.requests).run(first, end, [&](const ListedBlocks& listed) {
    for (const ListedBlock& each : listed.blocks) {
      changes_.learn(each.block, each.etag);
      hidden.erase({each.block.value, 1});
      add(each.block);
      if (!wanted) break;
    }
    return wanted;
  });
  std::uint64_t count = 0;
  for (auto run = hidden.first(); wanted && run.has_value(); run = hidden.next(run->range.end())) {
    for (std::uint64_t block = run->range.offset; wanted && block < run->range.end(); ++block) {
      add({block});
      ++count;
    }
  }
  if (count > 0) {
    log::error(
        "a listing does not show {} objects that this volume has stored by its record: they are "
        "removed by their names",
        count);
  }
  if (wanted && !batch.empty()) removing.give(std::move(batch));
  removing.finish();
}

}  // namespace nbdstack
