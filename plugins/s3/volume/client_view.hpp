// One client's view of a disk that all clients share: read-only for those who asked for that.
#pragma once

#include <memory>

#include "common/block/layer.hpp"
#include "common/error.hpp"

namespace nbdstack {

class ClientView final : public Layer {
 public:
  // `disk` outlives this, or rather its last call: a server that is told to stop never destroys the
  // views.
  ClientView(Layer& disk, bool readonly) : disk_(disk), traits_(disk.traits()) {
    if (!readonly) return;
    traits_.can_write = traits_.can_trim = traits_.can_fast_zero = false;
    traits_.zero = Support::none;
  }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  std::shared_ptr<const DiskIdentity> identity() override { return disk_.identity(); }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    disk_.pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    check_writable();
    disk_.pwrite(buffer, offset, durability);
  }
  void flush() override { disk_.flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    check_writable();
    disk_.zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    check_writable();
    disk_.trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { disk_.cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    disk_.extents(length, offset, only_one, extents);
  }

 private:
  void check_writable() const {
    if (!traits_.can_write) throw Error(EROFS, "the disk was opened read-only");
  }

  Layer& disk_;
  LayerTraits traits_;
};

}  // namespace nbdstack
