#include "plugins/s3/command/volume_resize.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "common/block/zeros.hpp"
#include "common/error.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/layout/own/own_format.hpp"

namespace nbdstack {
namespace {

// The last block that a volume can have: the largest disk, in the smallest objects.
constexpr BlockNumber kBlockEnd{(std::uint64_t{1} << 63U) / kObjectSize_bytes_min};

std::optional<SecretKey> unlock(const StoredDescriptor& stored,
                                const std::optional<std::string>& passphrase) {
  if (passphrase.has_value()) return stored.descriptor.unlock(*passphrase, stored.name);
  if (!stored.descriptor.encryption.has_value()) return std::nullopt;
  throw Error(EINVAL,
              fmt::format("{} is that of an encrypted volume: give its passphrase=", stored.name));
}

class Clearing {
 public:
  Clearing(ObjectStore& store, const BlockFormat& format, std::uint32_t object_size,
           const ChangeOptions& options)
      : objects_(store, format, object_size, options.guard),
        object_size_(object_size),
        options_(options),
        removal_(store, format, options) {}

  void behind(std::uint64_t size_bytes) {
    const BlockGeometry geometry(size_bytes, object_size_);
    removal_.remove({geometry.block_count()}, kBlockEnd);
    const BlockNumber last{geometry.block_count() - 1};
    const std::uint32_t used = geometry.length_of(last);
    if (used != object_size_) clear_tail(last, used);
  }

  [[nodiscard]] std::uint64_t removed() const { return removal_.removed(); }

 private:
  void clear_tail(BlockNumber block, std::uint32_t used) {
    std::vector<std::byte> data(object_size_);
    const BlockObjects::Found found = objects_.get_to_change(block, data);
    if (!found.exists) return;
    const auto tail = std::span(data).subspan(used);
    if (is_zero(tail)) return;
    std::fill(tail.begin(), tail.end(), std::byte{0});
    if (options_.check_writable) options_.check_writable();
    objects_.put(block, data, found.version);
  }

  BlockObjects objects_;
  const std::uint32_t object_size_;
  const ChangeOptions& options_;
  BlockRemoval removal_;
};

}  // namespace

ResizeResult resize_volume(ObjectStore& store, const StoredDescriptor& stored,
                           const ResizeRequest& request, const ChangeOptions& options) {
  const std::uint64_t old_size = stored.descriptor.size_bytes;
  const std::uint64_t new_size = request.new_size_bytes;
  if (new_size < old_size && !request.may_shrink) {
    throw Error(EINVAL, fmt::format("size={} is smaller than the volume, which has {} bytes, and "
                                    "would cut off what lies behind: give --force if you mean that",
                                    new_size, old_size));
  }
  auto volume_key = unlock(stored, request.passphrase);
  VolumeDescriptor changed = stored.descriptor;
  changed.resize(new_size, volume_key);
  const OwnFormat format({.key = request.key,
                          .object_size = changed.object_size,
                          .volume_id = changed.id,
                          .framed = changed.framed,
                          .volume_key = std::move(volume_key)});
  Clearing clearing(store, format, changed.object_size, options);
  const auto record = [&] {
    if (options.check_writable) options.check_writable();
    replace_descriptor(store, stored, changed, request.key);
  };
  if (new_size < old_size) record();
  clearing.behind(std::min(old_size, new_size));
  if (new_size > old_size) record();
  return {.old_size_bytes = old_size, .removed_objects = clearing.removed()};
}

}  // namespace nbdstack
