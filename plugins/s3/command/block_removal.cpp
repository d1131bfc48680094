#include "plugins/s3/command/block_removal.hpp"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "plugins/s3/block_listing.hpp"
#include "plugins/s3/block_objects.hpp"
#include "plugins/s3/command/bounded_work.hpp"

namespace nbdstack {

void BlockRemoval::remove(BlockNumber first, BlockNumber end) {
  using Keys = std::vector<std::string>;
  std::mutex counting;
  BoundedWork<Keys> removing(options_.requests, [&](const Keys& keys) {
    if (options_.check_writable) options_.check_writable();
    store_.remove(keys);
    const std::lock_guard lock(counting);
    removed_ += keys.size();
    if (options_.progress) options_.progress(removed_);
  });
  Keys batch;
  bool wanted = true;
  BlockListing(store_, format_, options_.requests).run(first, end, [&](const ListedBlocks& listed) {
    for (const ListedBlock& each : listed.blocks) {
      batch.push_back(format_.name_of(each.block));
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
