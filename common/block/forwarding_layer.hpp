// A layer that passes every call to the one below; the base of layers that change some of them.
//
// It passes finalize(), too: a client that leaves the upper layer leaves the lower one. A layer
// with work to do then does it first, because the layer below works until it is finalized itself.
// In a server the lowest of a filter's layers (NextLayer) ignores finalize(): nbdkit itself
// finalizes the layers below that.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "common/block/layer.hpp"

namespace nbdstack {

// The layer below, either owned or borrowed; a borrowed one outlives this.
class LayerBelow {
 public:
  // Neither is explicit, so that a caller passes a layer without naming the way.
  // NOLINTNEXTLINE(google-explicit-constructor)
  LayerBelow(Layer& borrowed) : layer_(&borrowed) {}
  template <std::derived_from<Layer> Owned>
  // NOLINTNEXTLINE(google-explicit-constructor)
  LayerBelow(std::unique_ptr<Owned> owned) : owned_(std::move(owned)), layer_(owned_.get()) {}

  Layer& operator*() const { return *layer_; }

 private:
  std::unique_ptr<Layer> owned_;  // layer_, or null
  Layer* layer_;
};

class ForwardingLayer : public Layer {
 public:
  [[nodiscard]] const LayerTraits& traits() const override { return below().traits(); }
  std::shared_ptr<const DiskIdentity> identity() override { return below().identity(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    below().pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    below().pwrite(buffer, offset, durability);
  }
  void flush() override { below().flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    below().zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    below().trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { below().cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    below().extents(length, offset, only_one, extents);
  }
  void finalize() override { below().finalize(); }

 protected:
  explicit ForwardingLayer(LayerBelow below) : below_(std::move(below)) {}

  [[nodiscard]] Layer& below() const { return *below_; }

 private:
  const LayerBelow below_;
};

}  // namespace nbdstack
