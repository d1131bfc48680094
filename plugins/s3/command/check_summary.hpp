// The words in which `check` reports on a volume, on standard error.
#pragma once

#include <string>

#include "plugins/s3/command/volume_check.hpp"

namespace nbdstack {

// Returns the progress in words.
std::string in_words(const CheckResult& so_far);

// Prints remarks besides damage. If `renewed`, objects without checksums have been given them.
void print_remarks(const CheckResult& result, bool renewed);

}  // namespace nbdstack
