// One volume, from opening it to the end of the server.
//
//   step      when                                 action
//   open()    at the start, perhaps before the     finds or creates it, and takes the right to
//             server forks                         write it (lease.hpp, or s3backer's token)
//   serve()   in the process that serves           makes its stores, its disk and its threads
//   stop()    when no request is under way         releases the right
//   abandon() instead, if the start has failed     releases the right if nothing was written
//
// Neither threads nor connections survive a fork: open() leaves none behind.
//
// The knowledge about the volume's blocks passes from one owner of the lease to the next by a
// record (block_memory.hpp): it is read after the lease was taken, and written after the end of the
// disk and before the release of the lease.
//
// The right to write depends on layout and parameters:
//
//   readonly=true, or an image    none is taken; writes are refused
//   own=none                      none is taken
//   layout=s3backer               s3backer's mount token; it is not renewed, so its loss to another
//                                 program is not noticed
//   else                          the lease
//
// One thread at a time may call; the disk is for all threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/metrics/registry.hpp"
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

  // Throws the errors of open_volume() and Lease::acquire(), after releasing the right to write.
  void open();

  // `stopping` returns whether the server has been told to stop. Throws Error(EBUSY) if the lease
  // was lost since open().
  void serve(const std::function<bool()>& stopping);

  // From serve() on.
  [[nodiscard]] Layer& disk() { return *disk_; }
  [[nodiscard]] const VolumeLayout& layout() const { return layout_; }

  void stop();

  // The process ends without stop(), because the start has failed elsewhere; requests may be under
  // way. Releases the right to write, unless anything may have been changed: then the next owner
  // treats this as a crash, as it must.
  void abandon();

 private:
  [[nodiscard]] bool wants_ownership() const;
  void change_descriptor(ObjectStore& store);  // if it must change
  [[nodiscard]] LeaseSettings lease_settings() const;
  [[nodiscard]] ChangeGuard guard() const;
  // Recalls what is certain about the blocks; for a server that is the only writer.
  void recall_blocks(ObjectStore& store, const Lease& lease);
  // Likewise for a reader, as long as the volume has not been written since.
  void recall_frozen_blocks(ObjectStore& store);
  [[nodiscard]] std::shared_ptr<PresenceMap> frozen_map();
  void remember_blocks();
  [[nodiscard]] bool writes_unowned() const;
  [[nodiscard]] std::string witness() const;
  void measure();

  const ServingSettings settings_;
  const Host host_;
  VolumeLayout layout_;                  // from open() on
  std::optional<LeaseTerm> term_;        // the last owner's, if this server has no lease
  std::optional<BlockMemory> memory_;    // if stored blocks are recorded
  KnownBlocks known_blocks_;             // from open() to serve()
  std::shared_ptr<PresenceMap> map_;     // from serve() on, if this is the only writer
  std::optional<SeenLease> last_lease_;  // for a reader: the last owner's

  // Each uses those above it.
  std::unique_ptr<VolumeOwnership> ownership_;  // from open() on
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<Layer> disk_;
  std::vector<MetricsRegistry::Sampled> metrics_;
};

}  // namespace nbdstack
