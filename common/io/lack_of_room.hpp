// Tells failures of a write for lack of room from others: the write may succeed once there is room.
#pragma once

#include "common/error.hpp"

namespace nbdstack {

inline bool is_for_lack_of_room(const Error& error) {
  return error.code() == ENOSPC || error.code() == EDQUOT || error.code() == EFBIG;
}

}  // namespace nbdstack
