// A derivation of keys that takes no time worth mentioning.
#pragma once

#include "common/crypto/wrapped_key.hpp"

namespace nbdstack::testing {

inline constexpr ScryptCost kCheapScrypt{.n = 16, .r = 8, .p = 1};

}  // namespace nbdstack::testing
