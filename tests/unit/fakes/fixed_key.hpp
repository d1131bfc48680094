// A key that is no secret.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/crypto/secret_key.hpp"

namespace nbdstack::testing {

inline SecretKey fixed_key(unsigned char byte) {
  SecretKey key;
  std::fill(key.buffer().begin(), key.buffer().end(), std::byte{byte});
  return key;
}

}  // namespace nbdstack::testing
