// Sizes for people: "1.5 GiB".
#pragma once

#include <cstdint>
#include <string>

namespace nbdstack {

std::string approximate_size(std::uint64_t size_bytes);

}  // namespace nbdstack
