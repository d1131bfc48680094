#include "plugins/s3/command/found_volume.hpp"

#include <fmt/core.h>

#include <utility>

#include "common/error.hpp"
#include "plugins/s3/command/deletion_mark.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "plugins/s3/volume/volume_open.hpp"

namespace nbdstack {
namespace {

std::string place_of(const VolumeRequest& request) {
  return request.key.empty() ? fmt::format("bucket {}", request.bucket)
                             : fmt::format("bucket {}, key {}", request.bucket, request.key);
}

std::shared_ptr<const BlockFormat> own_names(const std::string& key, std::uint32_t object_size) {
  return std::make_shared<OwnFormat>(
      OwnFormatSettings{.key = key, .object_size = object_size, .volume_id = {}, .volume_key = {}});
}

FoundVolume found_own(const VolumeRequest& request, StoredDescriptor stored) {
  const VolumeDescriptor& descriptor = stored.descriptor;
  return {.kind = FoundKind::own,
          .key = request.key,
          .place = place_of(request),
          .size_bytes = descriptor.size_bytes,
          .object_size = descriptor.object_size,
          .names = own_names(request.key, descriptor.object_size),
          .descriptor = std::move(stored)};
}

FoundVolume found_half_deleted(const VolumeRequest& request, const DeletionMark& mark) {
  return {.kind = FoundKind::half_deleted,
          .key = request.key,
          .place = place_of(request),
          .size_bytes = mark.size_bytes,
          .object_size = mark.object_size,
          .names = own_names(request.key, mark.object_size)};
}

FoundVolume found_other(const VolumeLayout& layout) {
  FoundKind kind = FoundKind::foreign;
  if (layout.kind == VolumeKind::image) kind = FoundKind::image;
  if (layout.layout == Layout::s3backer) kind = FoundKind::s3backer;
  return {.kind = kind,
          .key = layout.key,
          .place = layout.place,
          .size_bytes = layout.size_bytes,
          .object_size = layout.object_size,
          .names = layout.format,
          .descriptor = {},
          .mount_token = layout.mount_token};
}

}  // namespace

std::uint64_t FoundVolume::block_count() const {
  return object_size == 0 ? 0 : BlockGeometry(size_bytes, object_size).block_count();
}

BlockNumber FoundVolume::block_limit() const {
  if (kind == FoundKind::s3backer) return {kS3backerBlocks_max};
  return {(std::uint64_t{1} << 63U) / kObjectSize_bytes_min};
}

FoundVolume no_volume(const VolumeRequest& request) {
  return {.kind = FoundKind::foreign,
          .key = request.key,
          .place = place_of(request),
          .names = own_names(request.key, kObjectSize_bytes_default)};
}

FoundVolume find_volume(ObjectStore& store, const VolumeRequest& request) {
  if (request.layout != Layout::s3backer) {
    if (const auto mark = read_deletion_mark(store, request.key)) {
      return found_half_deleted(request, *mark);
    }
    if (auto stored = read_descriptor(store, ObjectNames(request.key))) {
      return found_own(request, std::move(*stored));
    }
  }
  VolumeRequest look = request;
  look.readonly = true;
  try {
    return found_other(open_volume(store, look));
  } catch (const Error& error) {
    if (error.code() != EROFS && error.code() != ENOENT) throw;
    throw Error(ENOENT, fmt::format("there is no volume in {}", place_of(request)));
  }
}

}  // namespace nbdstack
