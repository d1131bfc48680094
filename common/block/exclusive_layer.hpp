// One call at a time into a layer that takes no more: for who calls it outside of the requests that
// somebody else keeps in line already.
//
// A server keeps the requests of its clients apart where a plugin is not parallel, but knows
// nothing of background work. Where there is any, clients and background share one mutex; it is
// held across the call below, which is what it is for.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "common/block/layer.hpp"

namespace nbdstack {

class ExclusiveLayer : public Layer {
 public:
  // Both outlive the layer.
  ExclusiveLayer(Layer& below, std::mutex& mutex) : below_(below), mutex_(mutex) {}
  // The same over a layer that goes with this one.
  ExclusiveLayer(std::unique_ptr<Layer> below, std::mutex& mutex)
      : owned_(std::move(below)), below_(*owned_), mutex_(mutex) {}

  [[nodiscard]] const LayerTraits& traits() const override { return below_.traits(); }
  // Not a request, so it needs no turn of its own.
  std::shared_ptr<const DiskIdentity> identity() override { return below_.identity(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    below_.pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    const std::lock_guard lock(mutex_);
    below_.pwrite(buffer, offset, durability);
  }
  void flush() override {
    const std::lock_guard lock(mutex_);
    below_.flush();
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    const std::lock_guard lock(mutex_);
    below_.zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    const std::lock_guard lock(mutex_);
    below_.trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    below_.cache(length, offset);
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    const std::lock_guard lock(mutex_);
    below_.extents(length, offset, only_one, extents);
  }

 private:
  std::unique_ptr<Layer> owned_;  // below_, or nothing
  Layer& below_;
  std::mutex& mutex_;
};

}  // namespace nbdstack
