// What `check` says of a volume on standard error, in words.
#pragma once

#include <string>

#include "plugins/s3/command/volume_check.hpp"

namespace nbdstack {

// How far it is.
std::string in_words(const CheckResult& so_far);

// What is worth knowing beside damaged objects; `renewed`: objects that lacked checksums were given
// them.
void print_remarks(const CheckResult& result, bool renewed);

}  // namespace nbdstack
