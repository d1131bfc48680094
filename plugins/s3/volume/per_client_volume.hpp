// One client's view of a disk that all clients share: read-only if the client has asked for that.
#pragma once

#include "common/block/forwarding_layer.hpp"
#include "common/error.hpp"

namespace nbdstack {

class PerClientVolume final : public ForwardingLayer {
 public:
  // `disk` outlives the last call of this. It may not outlive this itself: a server that is told to
  // stop never destroys the views.
  PerClientVolume(Layer& disk, bool readonly) : ForwardingLayer(disk), traits_(disk.traits()) {
    if (!readonly) return;
    traits_.can_write = traits_.can_trim = traits_.can_fast_zero = false;
    traits_.zero = Support::none;
  }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    check_writable();
    below().pwrite(buffer, offset, durability);
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    check_writable();
    below().zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    check_writable();
    below().trim(length, offset, durability);
  }
  // Not passed on, because the other clients continue to use the disk.
  void finalize() override {}

 private:
  void check_writable() const {
    if (!traits_.can_write) throw Error(EROFS, "the disk was opened read-only");
  }

  LayerTraits traits_;
};

}  // namespace nbdstack
