// One connection's view of an export's cache: a Layer over the layer below of that connection.
#pragma once

#include <memory>

#include "common/block/layer.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {

class CacheLayer final : public Layer {
 public:
  CacheLayer(Layer& below, std::shared_ptr<BlockCache> cache, const CacheSettings& settings);
  // The same over a layer that goes with this one.
  CacheLayer(std::unique_ptr<Layer> below, std::shared_ptr<BlockCache> cache,
             const CacheSettings& settings);

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;
  void cache(std::uint64_t length, std::uint64_t offset) override;
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override;
  // What a client leaves behind unflushed goes down with it, except in unsafe mode.
  void finalize() override;

 private:
  std::unique_ptr<Layer> owned_;  // below_, or nothing
  Layer& below_;
  std::shared_ptr<BlockCache> cache_;
  LayerTraits traits_;
};

}  // namespace nbdstack
