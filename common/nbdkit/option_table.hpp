// The options of nbdkit's command line. cmake/NbdkitOptions.cmake reads them from the nbdkit that
// this build is for, and build/nbdkit has the same table.
#pragma once

#include <string_view>

namespace nbdstack {

extern const std::string_view kOptionLetters;  // "fU:": a ':' follows each that has a value
extern const std::string_view kOptionNames;    // ",foreground,unix:,": the same, between commas

}  // namespace nbdstack
