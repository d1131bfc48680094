// A disk image that is one object: read-only, by ranged GETs, large requests in parallel pieces.
//
// Every read carries the ETag of the object when it was opened: if the object is replaced, changed
// or removed meanwhile, reads fail with EIO and never mix two versions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/block/layer.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

class ObjectImage final : public Layer {
 public:
  // `store` outlives this; `etag` is empty if the store has none. A GET reads at most `piece_bytes`
  // (a power of two), and `connections` GETs run at a time for one request.
  ObjectImage(ObjectStore& store, std::string key, const ObjectInfo& object,
              std::uint32_t piece_bytes, std::size_t connections);

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void flush() override {}

  // All fail with EROFS.
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;

  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;

 private:
  [[noreturn]] void refuse() const;

  ObjectStore& store_;
  const std::string key_;
  const std::string etag_;
  const std::uint32_t piece_bytes_;
  LayerTraits traits_;
  WorkerPool pool_;
};

}  // namespace nbdstack
