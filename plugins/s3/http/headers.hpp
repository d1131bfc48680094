// The headers of a request or an answer of HTTP.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace nbdstack {

// (name, value). Names are case-insensitive; a name may occur more than once.
using Header = std::pair<std::string, std::string>;
using HeaderList = std::vector<Header>;

}  // namespace nbdstack
