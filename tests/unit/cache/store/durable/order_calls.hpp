// The calls of the protocol that are put in every order, and what a slot was before
// (order_run.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nbdstack::testing {

enum class Call : std::uint8_t {
  write,        // page 0 of block 0
  write_other,  // page 1 of it
  write_next,   // page 0 of block 1, when block 0 has left the slot
  load,         // page 1 of block 0, from below
  zero,         // page 0 of block 0
  zero_block,   // block 0, which leaves the slot
  drop,         // block 0, where nothing of it is dirty: a write goes around the cache
  write_back,
  read,  // page 0 of block 0
  commit,
};
inline constexpr std::array kCallNames{"write",      "write_other", "write_next", "load", "zero",
                                       "zero_block", "drop",        "write_back", "read", "commit"};
inline constexpr std::size_t kCalls = kCallNames.size();

inline std::size_t steps_of(Call call) {
  if (call == Call::commit) return 3;
  return call == Call::zero_block || call == Call::drop ? 1 : 2;
}

// What came before.
enum class Before : std::uint8_t { nothing, clean, dirty, held, second, cleaned, zeros };
inline constexpr std::array kBefore{Before::nothing, Before::clean,   Before::dirty, Before::held,
                                    Before::second,  Before::cleaned, Before::zeros};

}  // namespace nbdstack::testing
