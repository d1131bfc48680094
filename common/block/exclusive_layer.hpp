// Serializes calls to a layer that is not parallel. nbdkit serializes client requests itself, but
// does not know background threads: if there are any, they and the clients share a mutex, which is
// held during each call.
#pragma once

#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class ExclusiveLayer : public ForwardingLayer {
 public:
  // The mutex outlives the layer. traits() and identity() are no requests and do not lock it.
  ExclusiveLayer(LayerBelow below, Mutex& mutex)
      : ForwardingLayer(std::move(below)), mutex_(mutex) {}

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const MutexLock lock(mutex_);
    below().pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    const MutexLock lock(mutex_);
    below().pwrite(buffer, offset, durability);
  }
  void flush() override {
    const MutexLock lock(mutex_);
    below().flush();
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    const MutexLock lock(mutex_);
    below().zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    const MutexLock lock(mutex_);
    below().trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override {
    const MutexLock lock(mutex_);
    below().cache(length, offset);
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    const MutexLock lock(mutex_);
    below().extents(length, offset, only_one, extents);
  }
  void finalize() override {
    const MutexLock lock(mutex_);
    below().finalize();
  }

 private:
  Mutex& mutex_;
};

}  // namespace nbdstack
