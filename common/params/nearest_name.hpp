// Finds the name that one with typing errors is meant for.
#pragma once

#include <string_view>
#include <vector>

namespace nbdstack {

// Returns the name that is equal, begins with `typed`, or differs least from it, by at most one
// error in each three letters; the first of several. Empty if there is none.
std::string_view nearest_name(std::string_view typed, const std::vector<std::string_view>& names);

}  // namespace nbdstack
