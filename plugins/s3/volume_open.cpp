#include "plugins/s3/volume_open.hpp"

#include <fmt/core.h>

#include <span>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/block_objects.hpp"
#include "plugins/s3/object_image.hpp"
#include "plugins/s3/volume.hpp"
#include "plugins/s3/volume_descriptor.hpp"

namespace nbdstack {
namespace {

// Far more than a descriptor has: what is longer is something else.
constexpr std::size_t kDescriptor_bytes_max = 64UL * 1024;

class Opener {
 public:
  Opener(ObjectStore& store, const VolumeRequest& request)
      : store_(store),
        request_(request),
        objects_(store, request.key),
        place_(request.key.empty()
                   ? fmt::format("bucket {}", request.bucket)
                   : fmt::format("bucket {}, key {}", request.bucket, request.key)) {}

  VolumeLayout open() {
    if (const auto described = open_described()) return *described;
    const auto block = objects_.first_stored({0});
    if (block.has_value()) {
      // Somebody may have created the volume and written to it since we looked.
      if (const auto described = open_described()) return *described;
      return open_foreign(*block);
    }
    return request_.size_bytes.has_value() ? create() : open_image();
  }

 private:
  std::optional<VolumeLayout> open_described() {
    const std::string name = objects_.names().descriptor();
    const auto text = store_.get_text(name, kDescriptor_bytes_max);
    if (!text.has_value()) return std::nullopt;
    const VolumeDescriptor descriptor = VolumeDescriptor::parse(*text, name);
    check_agreement("size", request_.size_bytes, descriptor.size_bytes);
    check_agreement("object-size", request_.object_size, descriptor.object_size);
    log::debug("{}: volume {}, size {}, object-size {}", place_, descriptor.id,
               descriptor.size_bytes, descriptor.object_size);
    return blocks_layout(descriptor.size_bytes, descriptor.object_size);
  }

  template <typename Number>
  void check_agreement(const char* parameter, std::optional<Number> given, Number described) const {
    if (!given.has_value() || *given == described) return;
    throw Error(EINVAL, fmt::format("{0}={1} was given, but the volume in {2} was created with "
                                    "{0}={3}: leave {0} out, or use another key for a new volume",
                                    parameter, *given, place_, described));
  }

  VolumeLayout open_foreign(const ListedObject& block) {
    if (!request_.size_bytes.has_value() || !request_.object_size.has_value()) {
      throw Error(
          EINVAL,
          fmt::format("{} holds blocks, such as {}, but no {}: to open a volume that another "
                      "program wrote (nbdkit's S3 plugin, say), give its size= and "
                      "object-size= both",
                      place_, block.key, objects_.names().descriptor()));
    }
    if (block.size_bytes != *request_.object_size) {
      throw Error(EINVAL, fmt::format("object-size={} was given, but {} in {} is {} bytes long",
                                      *request_.object_size, block.key, place_, block.size_bytes));
    }
    const BlockGeometry geometry(*request_.size_bytes, *request_.object_size);
    if (const auto beyond = objects_.first_stored({geometry.block_count()})) {
      throw Error(EINVAL, fmt::format("size={} was given, but {} holds {}, which lies behind that",
                                      *request_.size_bytes, place_, beyond->key));
    }
    return blocks_layout(*request_.size_bytes, *request_.object_size);
  }

  VolumeLayout create() {
    const auto descriptor = VolumeDescriptor::make(
        *request_.size_bytes, request_.object_size.value_or(kObjectSize_bytes_default));
    const std::string text = descriptor.to_json();
    const PutOutcome outcome =
        store_.put(objects_.names().descriptor(), std::as_bytes(std::span(text)),
                   {.mode = PutMode::create_only});
    if (outcome.result == PutResult::stored) {
      log::debug("{}: created volume {}", place_, descriptor.id);
      return blocks_layout(descriptor.size_bytes, descriptor.object_size);
    }
    if (const auto described = open_described()) return *described;
    throw Error(EIO, fmt::format("{}: {} was created and removed again by somebody else meanwhile; "
                                 "start again",
                                 place_, objects_.names().descriptor()));
  }

  VolumeLayout open_image() {
    if (!request_.key.empty() && !request_.object_size.has_value()) {
      if (const auto size = store_.size_of(request_.key)) {
        return {.kind = VolumeKind::image,
                .key = request_.key,
                .size_bytes = *size,
                .object_size = kObjectSize_bytes_default};
      }
    }
    throw Error(ENOENT, fmt::format("there is no volume in {}: give size= to create one", place_));
  }

  [[nodiscard]] VolumeLayout blocks_layout(std::uint64_t size_bytes,
                                           std::uint32_t object_size) const {
    return {.kind = VolumeKind::blocks,
            .key = request_.key,
            .size_bytes = size_bytes,
            .object_size = object_size};
  }

  ObjectStore& store_;
  const VolumeRequest& request_;
  BlockObjects objects_;
  const std::string place_;  // bucket and key, for messages
};

}  // namespace

VolumeLayout open_volume(ObjectStore& store, const VolumeRequest& request) {
  return Opener(store, request).open();
}

std::unique_ptr<Layer> make_disk(ObjectStore& store, const VolumeLayout& layout,
                                 std::size_t connections) {
  if (layout.kind == VolumeKind::image) {
    return std::make_unique<ObjectImage>(store, layout.key, layout.size_bytes, layout.object_size,
                                         connections);
  }
  const BlockGeometry geometry(layout.size_bytes, layout.object_size);
  return std::make_unique<Volume>(store, layout.key, geometry, connections);
}

}  // namespace nbdstack
