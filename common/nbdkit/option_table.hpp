// The options of nbdkit's command line. cmake/NbdkitOptions.cmake asks the nbdkit that this build is
// for, so this is the table that build/nbdkit has, too.
#pragma once

#include <string_view>

namespace nbdstack {

extern const std::string_view kOptionLetters;  // "fU:": a ':' follows each that has a value
extern const std::string_view kOptionNames;    // ",foreground,unix:,": the same between commas

}  // namespace nbdstack
