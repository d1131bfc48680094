// Whether a write failed because there is no room: it may succeed when somebody has made some.
#pragma once

#include "common/error.hpp"

namespace nbdstack {

inline bool is_for_lack_of_room(const Error& error) {
  return error.code() == ENOSPC || error.code() == EDQUOT || error.code() == EFBIG;
}

}  // namespace nbdstack
