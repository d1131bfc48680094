// Writes a command's result.
#pragma once

#include <cerrno>
#include <cstdio>
#include <string>

#include "common/error.hpp"

namespace nbdstack {

// Throws Error if the text cannot be written whole: the exit code must show that.
inline void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw system_error(errno, "write to standard output");
  }
}

}  // namespace nbdstack
