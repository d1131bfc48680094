#include "plugins/s3/volume/object_image.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "common/error.hpp"

namespace nbdstack {

ObjectImage::ObjectImage(ObjectStore& store, std::string key, const ObjectInfo& object,
                         std::uint32_t piece_bytes, std::size_t connections)
    : store_(store),
      key_(std::move(key)),
      etag_(object.etag),
      piece_bytes_(piece_bytes),
      pool_(connections - 1) {
  traits_.size_bytes = object.size_bytes;
  traits_.minimum_block_size = 1;
  traits_.preferred_block_size = piece_bytes;
  traits_.maximum_block_size = 0xffffffff;
  traits_.can_flush = traits_.can_multi_conn = true;
}

void ObjectImage::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  const std::size_t count = (buffer.size() + piece_bytes_ - 1) / piece_bytes_;
  pool_.run(count, [&](std::size_t i) {
    const std::size_t begin = i * piece_bytes_;
    const auto piece =
        buffer.subspan(begin, std::min<std::size_t>(piece_bytes_, buffer.size() - begin));
    if (!store_.get_range(
            key_, piece,
            {.offset = offset + begin, .object_bytes = traits_.size_bytes, .etag = etag_})) {
      throw Error(EIO, fmt::format("{} is gone: it was removed while it was being served. Restart "
                                   "the server when it is there again",
                                   key_));
    }
  });
}

void ObjectImage::pwrite(std::span<const std::byte> /*buffer*/, std::uint64_t /*offset*/,
                         Durability /*durability*/) {
  refuse();
}

void ObjectImage::zero(std::uint64_t /*length*/, std::uint64_t /*offset*/,
                       const ZeroOptions& /*options*/) {
  refuse();
}

void ObjectImage::trim(std::uint64_t /*length*/, std::uint64_t /*offset*/,
                       Durability /*durability*/) {
  refuse();
}

void ObjectImage::extents(std::uint64_t length, std::uint64_t offset, bool /*only_one*/,
                          ExtentList& extents) {
  extents.append({offset, length}, kData);
}

void ObjectImage::refuse() const {
  throw Error(EROFS, fmt::format("{} is one object, and is served read-only", key_));
}

}  // namespace nbdstack
