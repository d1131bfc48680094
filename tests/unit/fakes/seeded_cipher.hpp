// The cipher of a cache's store in a test that runs for many seeds.
#pragma once

#include <cstdint>
#include <memory>

#include "common/crypto/unit_cipher.hpp"
#include "tests/unit/fakes/fixed_key.hpp"

namespace nbdstack::testing {

// Always the same one.
inline std::shared_ptr<const UnitCipher> fixed_cipher() {
  return std::make_shared<UnitCipher>(fixed_key(1));
}

// For every third seed; null: the store is not encrypted.
inline std::shared_ptr<const UnitCipher> seeded_cipher(std::uint64_t seed) {
  constexpr std::uint64_t kShare = 3;
  return seed % kShare == 0 ? fixed_cipher() : nullptr;
}

}  // namespace nbdstack::testing
