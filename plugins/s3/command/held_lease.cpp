#include "plugins/s3/command/held_lease.hpp"

namespace nbdstack {

HeldLease::HeldLease(const std::string& place, const std::string& volume_key,
                     const ServingSettings& settings, const Host& host)
    : store_(host.stores.make({.clock = host.clock,
                               .timeout = LeaseTiming{settings.lease_duration}.request_timeout()})),
      lease_({.volume = place,
              .volume_key = volume_key,
              .ownership = settings.ownership,
              .duration = settings.lease_duration},
             host.boottime_clock, host.processes) {
  const auto starting = host.stores.make(
      {.clock = host.clock, .timeout = LeaseTiming{settings.lease_duration}.start_timeout()});
  lease_.acquire(*starting);
  lease_.settle(*store_);
  keeper_ = std::make_unique<LeaseKeeper>(lease_, LeaseTiming{settings.lease_duration}.pause());
}

void HeldLease::release() {
  keeper_.reset();
  lease_.release();
}

}  // namespace nbdstack
