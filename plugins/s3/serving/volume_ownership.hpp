// The right to write one volume, from when it is taken until it is given back.
//
//   step            when                          does
//   take_lease(),   before the server may fork    takes the lease (lease.hpp), or s3backer's mount
//   take_token()                                  token
//   keep()          in the process that writes    makes the lease's own store, and the thread that
//                                                 renews the lease
//   give_back()     after the last change         joins the thread, gives back what was taken
//
// Neither threads nor connections survive a fork: the steps before keep() leave none behind. The
// lease's store is not the volume's: a renewal must not wait as long as a block may, and goes on
// while the server stops.
//
// Called by one thread at a time; lease() is for all threads.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/metrics/registry.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/lease/lease_keeper.hpp"
#include "plugins/s3/serving/store_factory.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// The parts of the process that a volume uses; all of them outlive it.
struct Host {
  const StoreFactory& stores;
  Clock& clock;           // of requests
  Clock& boottime_clock;  // of the lease: counts suspend
  const Processes& processes;
  Metrics metrics{};  // of the plugin
};

class VolumeOwnership {
 public:
  // Takes nothing yet. With Ownership::none, take_lease() takes none and lease() refuses nothing.
  VolumeOwnership(const LeaseSettings& settings, const Host& host);
  VolumeOwnership(const VolumeOwnership&) = delete;
  VolumeOwnership& operator=(const VolumeOwnership&) = delete;
  ~VolumeOwnership();

  // Throws what Lease::acquire() throws: EBUSY if another writer holds the lease.
  void take_lease();
  // Throws what put_mount_token() throws. `layout` is an s3backer volume's.
  void take_token(ObjectStore& store, const VolumeLayout& layout, bool force);

  // Does nothing without a lease. Throws Error(EBUSY) if the lease was lost since it was taken.
  // `stopping` is asked whether the server has been told to stop: from then on, a service that
  // does not answer is waited for no longer than the volume's own store waits.
  void keep(const std::function<bool()>& stopping = {});

  // No change is under way. A lease refuses all changes from here on. Failures are logged. May be
  // called again.
  void give_back();

  [[nodiscard]] Lease& lease() { return lease_; }
  [[nodiscard]] bool has_taken_lease() const { return lease_.state() != LeaseState::none; }
  [[nodiscard]] bool has_taken_token() const { return token_.has_value(); }

  // Returns a store for requests, such as the lease's, that are of use only if answered soon.
  [[nodiscard]] std::unique_ptr<ObjectStore> make_store() const {
    return make_store(timing_.request_timeout());
  }
  // Returns such a store for the start, with more time, because nothing is written yet.
  [[nodiscard]] std::unique_ptr<ObjectStore> make_starting_store() const {
    return make_store(timing_.start_timeout());
  }

 private:
  struct Token {
    VolumeLayout layout;
    std::string identity;
  };

  [[nodiscard]] std::unique_ptr<ObjectStore> make_store(
      std::chrono::milliseconds timeout, const std::function<bool()>& stopping = {}) const;
  void remove_token();

  const LeaseTiming timing_;
  const Host host_;
  std::optional<Token> token_;

  // Each uses those above it, and is destroyed before them.
  std::unique_ptr<ObjectStore> store_;
  Lease lease_;
  std::unique_ptr<LeaseKeeper> keeper_;
};

}  // namespace nbdstack
