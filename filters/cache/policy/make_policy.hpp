// Makes the eviction policy that the parameters select.
#pragma once

#include <cstdint>
#include <memory>

#include "filters/cache/policy/eviction_policy.hpp"

namespace nbdstack {

// The first `protect_blocks` blocks of the disk are evicted last.
std::unique_ptr<EvictionPolicy> make_eviction_policy(CachePolicy kind,
                                                     std::uint64_t protect_blocks = 0);

}  // namespace nbdstack
