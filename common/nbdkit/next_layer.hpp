// The layer below a filter, over nbdkit's next_ops.
//
// nbdkit aborts the server on a call that the layer did not offer, or whose capability was not
// queried before. So the NextLayer queries all capabilities once, in its constructor, and checks
// calls against the replies: a mistake above is an error in one request, not the end of the server.
// It also splits requests that are longer than nbdkit accepts in one call.
#pragma once

#include <nbdkit-filter.h>

#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/request_meters.hpp"
#include "common/nbdkit/single_seat.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// The common properties of all connections below a filter; the meters are of one export.
struct BelowFilter {
  int thread_model = NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS;  // nbdkit's final one
  // False if a description from below cannot be about the shown disk.
  bool shows_plugins_disk = true;
  BelowMeters meters;

  [[nodiscard]] bool is_parallel() const { return thread_model == NBDKIT_THREAD_MODEL_PARALLEL; }
  [[nodiscard]] bool has_single_seat() const {
    return thread_model == NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS;
  }
};

class NextLayer : public Layer {
 public:
  // `next` outlives the layer.
  NextLayer(nbdkit_next* next, bool readonly, const BelowFilter& about);

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
  std::shared_ptr<const DiskIdentity> identity() override;

 private:
  nbdkit_next* next_;
  LayerTraits traits_;
  const bool shows_plugins_disk_;
  const BelowMeters meters_;
  Mutex mutex_;
  std::string description_ GUARDED_BY(mutex_);                       // nbdkit's last one
  std::shared_ptr<const DiskIdentity> identity_ GUARDED_BY(mutex_);  // parsed from it
};

// The chain below a filter. Each layer that it opens has a connection of its own.
class NbdkitBackend final : public Backend {
 public:
  // `seat` is for layers below that serve one connection; it outlives this and its layers.
  NbdkitBackend(nbdkit_backend* backend, const BelowFilter& about, SingleSeat& seat)
      : backend_(backend), about_(about), seat_(seat) {}
  std::unique_ptr<Layer> open_default_export() override;
  [[nodiscard]] bool serves_beside_clients() const override { return !about_.has_single_seat(); }

 private:
  nbdkit_backend* backend_;
  const BelowFilter about_;
  SingleSeat& seat_;
};

}  // namespace nbdstack
