#include "plugins/s3/command/volume_create.hpp"

#include <fmt/core.h>

#include <string>

#include "common/error.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/volume/volume_open.hpp"

namespace nbdstack {
namespace {

// Returns the name of an object that belongs to a volume, or an empty string if there is none.
std::string find_volume_object(ObjectStore& store, const std::string& key) {
  const ObjectNames names(key);
  if (store.look_up(names.descriptor()).has_value()) return names.descriptor();
  const std::string prefix = key.empty() ? "" : key + "/";
  std::string found;
  store.list_in_any_order(prefix, [&](const ListedObject& object) {
    const bool is_block =
        names.parse_block(object.key).has_value() || is_s3backer_block(prefix, object.key);
    if (is_block) found = object.key;
    return !is_block;
  });
  return found;
}

}  // namespace

VolumeLayout create_volume(ObjectStore& store, const VolumeRequest& request) {
  if (!request.size_bytes.has_value()) throw Error(EINVAL, "create needs size=");
  if (request.layout == Layout::s3backer) {
    throw Error(EINVAL,
                "nothing records an s3backer volume before its first block is written: start the "
                "server with layout=s3backer and size= instead");
  }
  const std::string found = find_volume_object(store, request.key);
  if (!found.empty()) {
    throw Error(EEXIST, fmt::format("bucket {} holds a volume already: {} belongs to it; use "
                                    "another key=, or delete that one first",
                                    request.bucket, found));
  }
  return open_volume(store, request);
}

}  // namespace nbdstack
