// The right to write a volume while a verb changes it: the same lease that a server takes
// (lease.hpp), kept renewed until this ends.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/lease/lease_keeper.hpp"
#include "plugins/s3/serving/served_volume.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

class HeldLease {
 public:
  // Throws what Lease::acquire() throws: EBUSY where somebody else has it. With own=none nothing is
  // taken. `place` is for messages; what `host` names outlives this.
  HeldLease(const std::string& place, const std::string& volume_key,
            const ServingSettings& settings, const Host& host);
  HeldLease(const HeldLease&) = delete;
  HeldLease& operator=(const HeldLease&) = delete;
  ~HeldLease() { release(); }

  [[nodiscard]] bool may_write() const { return lease_.may_write(); }
  [[nodiscard]] const ConditionalPuts& conditions() const { return lease_.conditions(); }
  // As Lease has them.
  [[nodiscard]] bool is_exclusive() const { return lease_.is_exclusive(); }
  [[nodiscard]] const std::optional<SeenLease>& predecessor() const { return lease_.predecessor(); }
  [[nodiscard]] const std::string& owner() const { return lease_.owner(); }
  // To be called before each change of what the disk contains. Throws Error(ESHUTDOWN) that says why
  // not, after it has waited for the renewal that decides.
  void check_writable() {
    lease_.await_writable();
    lease_.note_change();
  }

  // Gives it back; may be called again. No request that changes the volume is under way.
  void release();

 private:
  std::unique_ptr<ObjectStore> store_;
  Lease lease_;
  std::unique_ptr<LeaseKeeper> keeper_;
};

}  // namespace nbdstack
