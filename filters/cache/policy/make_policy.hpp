// The eviction policy that the parameters ask for.
#pragma once

#include <cstdint>
#include <memory>

#include "filters/cache/policy/eviction_policy.hpp"

namespace nbdstack {

// With protect_blocks other than 0, the first so many blocks of the disk are evicted last.
std::unique_ptr<EvictionPolicy> make_eviction_policy(CachePolicy kind,
                                                     std::uint64_t protect_blocks = 0);

}  // namespace nbdstack
