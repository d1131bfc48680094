// A disk that is changed only while the lease on it lasts. Reads need none: what they return is
// what lies in the store.
//
// A change is refused before it begins. One that was begun in time, and takes long, is watched
// further down: whoever sends its bytes asks Lease::may_write() as well.
#pragma once

#include <memory>
#include <utility>

#include "common/block/layer.hpp"
#include "plugins/s3/lease.hpp"

namespace nbdstack {

class LeasedDisk final : public Layer {
 public:
  // `lease` outlives this.
  LeasedDisk(std::unique_ptr<Layer> below, const Lease& lease)
      : below_(std::move(below)), lease_(lease) {}

  [[nodiscard]] const LayerTraits& traits() const override { return below_->traits(); }
  std::shared_ptr<const DiskIdentity> identity() override { return below_->identity(); }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    below_->pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    lease_.check_writable();
    below_->pwrite(buffer, offset, durability);
  }
  // Not refused: it changes nothing but the durability of what was accepted.
  void flush() override { below_->flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    lease_.check_writable();
    below_->zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    lease_.check_writable();
    below_->trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { below_->cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    below_->extents(length, offset, only_one, extents);
  }
  void finalize() override { below_->finalize(); }

 private:
  const std::unique_ptr<Layer> below_;
  const Lease& lease_;
};

}  // namespace nbdstack
