// The layer below a filter, over nbdkit's next_ops.
//
// nbdkit aborts the server when a call is made that the layer did not offer, or before its
// capability was asked for. So everything is asked once, when the NextLayer is made, and calls are
// checked against the answers here: a mistake above is an error in one request, not the end of the
// server. It also cuts what is longer than nbdkit takes in one call.
#pragma once

#include <nbdkit-filter.h>

#include <memory>
#include <mutex>
#include <string>

#include "common/block/layer.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/single_seat.hpp"

namespace nbdstack {

// What is the same for all connections below a filter.
struct BelowFilter {
  int thread_model = NBDKIT_THREAD_MODEL_SERIALIZE_CONNECTIONS;  // nbdkit's final one
  // Whether a description that comes from below can be about the disk that is shown.
  bool shows_plugins_disk = true;

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
  std::mutex mutex_;                              // protects what follows
  std::string description_;                       // as nbdkit gave it last
  std::shared_ptr<const DiskIdentity> identity_;  // what it says
};

// The chain below a filter; what it opens has a connection of its own, closed with the layer.
class NbdkitBackend final : public Backend {
 public:
  // `seat` is that of the layers below, where they have only one; it outlives this and its layers.
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
