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
// What is known of the volume's blocks goes from one owner of the lease to the next by a record
// (block_memory.hpp): it is read when the lease has been taken, and written when the disk is gone
// and the lease not yet given back.
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
#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/blocks/presence_map.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/serving/volume_ownership.hpp"
#include "plugins/s3/store/guarded_changes.hpp"

namespace nbdstack {

struct ServingSettings {
  VolumeRequest request;
  Ownership ownership = Ownership::automatic;
  std::chrono::milliseconds lease_duration = kLeaseDuration_default;
  std::size_t connections = 16;
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
  void change_descriptor(ObjectStore& store);  // where it has to be
  [[nodiscard]] LeaseSettings lease_settings() const;
  [[nodiscard]] ChangeGuard guard() const;
  // What is certain of the blocks from the start on; where nobody else may write.
  void recall_blocks(ObjectStore& store, const Lease& lease);
  // The same for a reader, as long as nobody has written since.
  void recall_frozen_blocks(ObjectStore& store);
  [[nodiscard]] std::shared_ptr<PresenceMap> frozen_map();
  void remember_blocks();
  [[nodiscard]] bool writes_unowned() const;
  [[nodiscard]] std::string witness() const;

  const ServingSettings settings_;
  const Host host_;
  VolumeLayout layout_;                  // from open() on
  std::optional<LeaseTerm> term_;        // of who has no lease: the last owner's
  std::optional<BlockMemory> memory_;    // where what is stored is recorded
  KnownBlocks known_blocks_;             // from open() to serve()
  std::shared_ptr<PresenceMap> map_;     // from serve() on, where nobody else may write
  std::optional<SeenLease> last_lease_;  // of who only reads: that of the last owner

  // Each uses those above it.
  std::unique_ptr<VolumeOwnership> ownership_;  // from open() on
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Layer> disk_;
};

}  // namespace nbdstack
