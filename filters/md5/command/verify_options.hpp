// The command line of nbdstack-md5-verify: options, an md5-file, an NBD URI.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "common/command/usage_error.hpp"

namespace nbdstack {

struct VerifyOptions {
  std::string md5_file;
  std::string uri;
  std::size_t requests = 16;
  bool json = false;
  bool progress = false;
  // With one of these, all others are ignored.
  bool help = false;
  bool version = false;
};

// `words` does not contain the program's name. Throws UsageError.
VerifyOptions parse_verify_options(const std::vector<std::string>& words);

// Returns the output of --help.
std::string verify_help();

}  // namespace nbdstack
