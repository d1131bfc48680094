#include "plugins/s3/volume/volume_open.hpp"

#include <fmt/core.h>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/layout/own/own_open.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/volume/object_image.hpp"

namespace nbdstack {
namespace {

std::string place_of(const VolumeRequest& request) {
  if (request.prefix.has_value() && request.layout == Layout::s3backer) {
    return fmt::format("bucket {}, prefix {}", request.bucket, *request.prefix);
  }
  return request.key.empty() ? fmt::format("bucket {}", request.bucket)
                             : fmt::format("bucket {}, key {}", request.bucket, request.key);
}

// The first block in a listing of the volume's prefix.
struct FoundBlock {
  ListedObject object;
  Layout layout = Layout::own;
};

std::optional<FoundBlock> find_block(ObjectStore& store, const VolumeRequest& request) {
  const ObjectNames names(request.key);
  const std::string prefix = s3backer_prefix(request);
  std::optional<FoundBlock> found;
  store.list_in_any_order(prefix, [&](const ListedObject& object) {
    if (names.parse_block(object.key).has_value()) {
      found = {.object = object, .layout = Layout::own};
    } else if (is_s3backer_block(prefix, object.key)) {
      found = {.object = object, .layout = Layout::s3backer};
    }
    return !found.has_value() &&
           (!store.lists_in_order() || may_be_followed_by_block(prefix, object.key));
  });
  return found;
}

std::optional<VolumeLayout> find_image(ObjectStore& store, const VolumeRequest& request,
                                       const std::string& place) {
  if (!request.key.empty() && !request.object_size.has_value()) {
    if (const auto object = store.look_up(request.key)) {
      if (request.passphrase.has_value() || !request.cipher.empty()) {
        throw Error(EINVAL, fmt::format("{} is a disk image, which is not encrypted: leave out "
                                        "encrypt= and passphrase=",
                                        place));
      }
      return VolumeLayout{.kind = VolumeKind::image,
                          .layout = Layout::own,
                          .key = request.key,
                          .size_bytes = object->size_bytes,
                          .object_size = kObjectSize_bytes_default,
                          .place = place,
                          .format = nullptr,
                          .mount_token = {},
                          .image_etag = object->etag,
                          .descriptor_change = {}};
    }
  }
  return std::nullopt;
}

[[noreturn]] void throw_no_volume(const std::string& place) {
  throw Error(ENOENT, fmt::format("there is no volume in {}: volumes=any would serve any object as "
                                  "a disk",
                                  place));
}

// Returns whether there is a volume of our own layout, or an image.
bool holds_something(ObjectStore& store, const std::string& key) {
  try {
    const ObjectNames names(key);
    return store.look_up(names.descriptor()).has_value() ||
           store.look_up(names.block({0})).has_value() ||
           (!key.ends_with('/') && store.look_up(key).has_value());
  } catch (const Error& error) {
    if (error.code() != EINVAL) throw;
    return false;  // a directory has no such names
  }
}

}  // namespace

std::string resolve_key(ObjectStore& store, const VolumeRequest& request) {
  const std::string& given = request.key_as_given;
  if (given.empty() || request.prefix.has_value() || !holds_something(store, given)) {
    return request.key;
  }
  if (!request.key.empty() && holds_something(store, request.key)) {
    throw Error(EINVAL,
                fmt::format("key={0}: bucket {1} holds objects below '{0}/', where an earlier "
                            "version put them, and below '{2}/': give key={2} for these, and copy "
                            "the others to another key",
                            given, request.bucket, request.key));
  }
  log::error(
      "bucket {}: the volume lies below '{}/', where an earlier version put it, and is used "
      "there",
      request.bucket, given);
  return given;
}

namespace {

VolumeLayout open_listed(ObjectStore& store, const VolumeRequest& request,
                         const std::string& place) {
  if (request.layout == Layout::s3backer) return open_s3backer(store, request, place);
  if (request.prefix.has_value() || request.hash_prefix) {
    throw Error(EINVAL, "prefix= and block-hash-prefix= are for layout=s3backer");
  }
  OwnOpener own(store, request, place);
  if (auto described = own.open_described()) return std::move(*described);
  const auto block = find_block(store, request);
  if (block.has_value()) {
    // Another server may have created the volume, and written to it, since the descriptor was read.
    if (auto described = own.open_described()) return std::move(*described);
    if (block->layout == Layout::own) return own.open_foreign(block->object);
    if (request.layout == Layout::automatic) {
      VolumeRequest found = request;
      found.hash_prefix =
          S3backerNames(s3backer_prefix(request), true).parse_block(block->object.key).has_value();
      return open_s3backer(store, found, place);
    }
    throw Error(EINVAL, fmt::format("{} holds a volume of s3backer's, such as {}: leave out "
                                    "layout=own, or use another key",
                                    place, block->object.key));
  }
  if (request.size_bytes.has_value()) return own.create();
  if (!request.images) throw_no_volume(place);
  auto image = find_image(store, request, place);
  if (image.has_value()) return std::move(*image);
  throw Error(ENOENT, fmt::format("there is no volume in {}: give size= to create one", place));
}

}  // namespace

VolumeLayout open_volume(ObjectStore& store, const VolumeRequest& request) {
  const std::string place = place_of(request);
  const bool may_be_image =
      request.images && !request.size_bytes.has_value() && request.layout == Layout::automatic;
  try {
    return open_listed(store, request, place);
  } catch (const Error& error) {
    if (error.code() != EACCES || !may_be_image) throw;
    // A user with permission for one object only is refused at every other key, whether or not it
    // exists.
    auto image = find_image(store, request, place);
    if (!image.has_value()) throw;
    return std::move(*image);
  }
}

std::unique_ptr<Layer> make_disk(ObjectStore& store, const VolumeLayout& layout,
                                 const VolumeOptions& options) {
  if (layout.kind == VolumeKind::image) {
    const ObjectInfo object{
        .size_bytes = layout.size_bytes, .etag = layout.image_etag, .age = {}, .attributes = {}};
    return std::make_unique<ObjectImage>(store, layout.key, object, layout.object_size,
                                         options.connections);
  }
  const BlockGeometry geometry(layout.size_bytes, layout.object_size);
  return std::make_unique<Volume>(store, layout.format, geometry, options);
}

}  // namespace nbdstack
