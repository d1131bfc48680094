// A command line that was not understood.
#pragma once

#include <string>

#include "common/error.hpp"

namespace nbdstack {

// Exit code 2.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(EINVAL, message) {}
};

}  // namespace nbdstack
