// The parameters of all layers, to suggest one for a wrong name.
//
// nbdkit passes a parameter to each filter and then to the plugin: a name that no filter of the
// command line knows arrives there, and is misspelt, or belongs to a missing filter. The table is
// made from the man pages (cmake/known_parameters.cmake), which a test compares with --help.
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

// Returns the message about a parameter that has reached this plugin, and is not its own.
std::string unknown_parameter_text(std::string_view name, std::string_view plugin,
                                   std::span<const KnownParameter> known);

}  // namespace nbdstack
