// The parameters of all layers, and which of them a wrong name may be meant for.
//
// nbdkit offers a parameter to each filter and then to the plugin: a name that no filter of the
// command line knows ends up there, and is misspelt, or that of a filter which is missing. The table
// is made from the man pages (cmake/known_parameters.cmake), which a test holds against --help.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace nbdstack {

struct KnownParameter {
  std::string_view layer;  // "cache"
  std::string_view kind;   // "filter" or "plugin"
  std::string_view name;
};

extern const std::span<const KnownParameter> kKnownParameters;

// What to tell the user about a parameter that reached the plugin of this name, and is not its own.
std::string unknown_parameter_text(std::string_view name, std::string_view plugin,
                                   std::span<const KnownParameter> known);

}  // namespace nbdstack
