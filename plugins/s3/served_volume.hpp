// One volume from the look at what lies in the store to the end of the server.
//
//   step      when                                 does
//   open()    at the start, perhaps before the     finds or creates it, and takes the right to
//             server forks                         write it (lease.hpp, or s3backer's token)
//   serve()   in the process that serves           makes its stores, its disk and its threads
//   stop()    when no request is under way         gives the right back
//   abandon() instead, when the start has failed   gives the right back, where nothing was written
//
// Neither threads nor connections survive a fork: open() leaves none behind.
//
// Right to write, by layout and parameters:
//
//   readonly=true, or an image    none is taken; writes are refused
//   own=none                      none is taken
//   layout=s3backer               s3backer's mount token; it is not renewed, so nobody finds out
//                                 that it was taken away
//   else                          the lease
//
// Called by one thread at a time; the disk is for all.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "common/block/layer.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/guarded_changes.hpp"
#include "plugins/s3/lease.hpp"
#include "plugins/s3/lease_keeper.hpp"
#include "plugins/s3/store_factory.hpp"
#include "plugins/s3/volume_request.hpp"

namespace nbdstack {

struct ServingSettings {
  VolumeRequest request;
  Ownership ownership = Ownership::automatic;
  std::chrono::milliseconds lease_duration = kLeaseDuration_default;
  std::size_t connections = 16;
};

// What a volume needs from the process; everything outlives it.
struct Host {
  const StoreFactory& stores;
  Clock& clock;           // of requests
  Clock& boottime_clock;  // of the lease: counts suspend
  const Processes& processes;
};

class ServedVolume {
 public:
  ServedVolume(ServingSettings settings, const Host& host);
  ServedVolume(const ServedVolume&) = delete;
  ServedVolume& operator=(const ServedVolume&) = delete;
  ~ServedVolume();

  // Throws what open_volume() and Lease::acquire() throw; the right to write is given back then.
  void open();

  // `stopping` is asked whether the server has been told to stop. Throws Error(EBUSY) where the
  // lease was lost since open().
  void serve(const std::function<bool()>& stopping);

  // From serve() on.
  [[nodiscard]] Layer& disk() { return *disk_; }
  [[nodiscard]] const VolumeLayout& layout() const { return layout_; }

  void stop();

  // The process ends without stop(), because the start has failed somewhere else; requests may be
  // under way. Gives the right to write back, unless anything may have been changed: then the next
  // owner takes it for a crash's, as it must.
  void abandon();

 private:
  [[nodiscard]] bool wants_ownership() const;
  [[nodiscard]] std::unique_ptr<ObjectStore> make_lease_store(
      std::chrono::milliseconds timeout) const;
  void change_descriptor(ObjectStore& store);  // where it has to be
  [[nodiscard]] LeaseSettings lease_settings() const;
  void take_lease();
  void take_token(ObjectStore& store);
  [[nodiscard]] ChangeGuard guard() const;
  void give_back();
  void remove_token();

  const ServingSettings settings_;
  const LeaseTiming timing_;
  const Host host_;
  VolumeLayout layout_;               // from open() on
  std::optional<std::string> token_;  // of ours in the store
  std::optional<LeaseTerm> term_;     // of who has no lease: the last owner's

  // In the order in which each uses those above it.
  std::unique_ptr<ObjectStore> lease_store_;
  std::unique_ptr<Lease> lease_;  // from serve() on always; of own=none where there is none
  std::unique_ptr<LeaseKeeper> keeper_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Layer> disk_;
};

}  // namespace nbdstack
