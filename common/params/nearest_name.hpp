// Which of several names was meant by one with typing errors.
#pragma once

#include <string_view>
#include <vector>

namespace nbdstack {

// The name that is equal, that begins with what was typed, or that differs least from it, by at most
// one error in each three letters; the first of several. Empty if there is none.
std::string_view nearest_name(std::string_view typed, const std::vector<std::string_view>& names);

}  // namespace nbdstack
