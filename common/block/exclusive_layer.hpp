// One call at a time into a layer that takes no more: for who calls it outside of the requests that
// somebody else keeps in line already.
//
// A server keeps the requests of its clients apart where a plugin is not parallel, but knows
// nothing of background work. Where there is any, clients and background share one mutex; it is
// held across the call below, which is what it is for.
#pragma once

#include <mutex>
#include <utility>

#include "common/block/forwarding_layer.hpp"

namespace nbdstack {

class ExclusiveLayer : public ForwardingLayer {
 public:
  // The mutex outlives the layer. traits() and identity() are no requests, and need no turn.
  ExclusiveLayer(LayerBelow below, std::mutex& mutex)
      : ForwardingLayer(std::move(below)), mutex_(mutex) {}

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    below().pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    const std::lock_guard lock(mutex_);
    below().pwrite(buffer, offset, durability);
  }
  void flush() override {
    const std::lock_guard lock(mutex_);
    below().flush();
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    const std::lock_guard lock(mutex_);
    below().zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    const std::lock_guard lock(mutex_);
    below().trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    below().cache(length, offset);
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    const std::lock_guard lock(mutex_);
    below().extents(length, offset, only_one, extents);
  }
  void finalize() override {
    const std::lock_guard lock(mutex_);
    below().finalize();
  }

 private:
  std::mutex& mutex_;
};

}  // namespace nbdstack
