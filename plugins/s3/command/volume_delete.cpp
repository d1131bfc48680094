#include "plugins/s3/command/volume_delete.hpp"

#include <span>
#include <string>
#include <vector>

#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/command/deletion_mark.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/lease/lease_record.hpp"

namespace nbdstack {
namespace {

void put_mark(ObjectStore& store, const FoundVolume& volume) {
  const DeletionMark mark{.size_bytes = volume.size_bytes, .object_size = volume.object_size};
  const std::string text = mark.to_json();
  store.put(ObjectNames(volume.key).descriptor(), std::as_bytes(std::span(text)), {});
}

void remove_helpers(ObjectStore& store, const std::string& volume_key) {
  std::vector<std::string> names{lease_object_key(volume_key), block_record_key(volume_key)};
  const std::string probes = (volume_key.empty() ? "" : volume_key + "/") + "nbdstack-probe-";
  store.list_in_any_order(probes, [&](const ListedObject& object) {
    names.push_back(object.key);
    return names.size() < BlockObjects::kBatch;
  });
  store.remove(names);
}

}  // namespace

std::uint64_t delete_blocks(ObjectStore& store, const FoundVolume& volume,
                            const ChangeOptions& options) {
  if (volume.kind != FoundKind::half_deleted) {
    if (options.check_writable) options.check_writable();
    put_mark(store, volume);
  }
  BlockRemoval removal(store, *volume.names, options);
  const BlockNumber end{volume.block_count()};
  removal.remove({0}, end);
  removal.remove(end, volume.block_limit());
  return removal.removed();
}

void finish_deletion(ObjectStore& store, const std::string& volume_key) {
  if (!read_deletion_mark(store, volume_key).has_value()) return;
  remove_helpers(store, volume_key);
  const std::string mark = ObjectNames(volume_key).descriptor();
  store.remove(std::span(&mark, 1));
}

std::uint64_t delete_s3backer_volume(ObjectStore& store, const FoundVolume& volume,
                                     const ChangeOptions& options, bool force,
                                     const std::function<void()>& before_the_token) {
  VolumeLayout layout;
  layout.place = volume.place;
  layout.mount_token = volume.mount_token;
  const std::string token = put_mount_token(store, layout, force);
  BlockRemoval removal(store, *volume.names, options);
  removal.remove({1}, volume.block_limit());
  removal.remove({0}, {1});
  if (before_the_token) before_the_token();
  remove_mount_token(store, layout, token);
  return removal.removed();
}

}  // namespace nbdstack
