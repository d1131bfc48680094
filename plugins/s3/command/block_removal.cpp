#include "plugins/s3/command/block_removal.hpp"

#include <mutex>
#include <utility>
#include <vector>

#include "plugins/s3/block_listing.hpp"
#include "plugins/s3/block_objects.hpp"
#include "plugins/s3/command/bounded_work.hpp"

namespace nbdstack {

void BlockRemoval::remove(BlockNumber first, BlockNumber end) {
  using Targets = std::vector<GuardedChanges::Target>;
  std::mutex counting;
  BoundedWork<Targets> removing(options_.requests, [&](const Targets& targets) {
    if (options_.check_writable) options_.check_writable();
    changes_.remove(targets);
    const std::lock_guard lock(counting);
    removed_ += targets.size();
    if (options_.progress) options_.progress(removed_);
  });
  Targets batch;
  bool wanted = true;
  BlockListing(store_, format_, options_.requests).run(first, end, [&](const ListedBlocks& listed) {
    for (const ListedBlock& each : listed.blocks) {
      changes_.learn(each.block, each.etag);
      batch.push_back({each.block, format_.name_of(each.block)});
      if (batch.size() < BlockObjects::kBatch) continue;
      wanted = removing.give(std::exchange(batch, {}));
      if (!wanted) break;
    }
    return wanted;
  });
  if (wanted && !batch.empty()) removing.give(std::move(batch));
  removing.finish();
}

}  // namespace nbdstack
