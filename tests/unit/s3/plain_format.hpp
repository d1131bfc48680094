// Blocks as they stand, under KEY/%016x.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/own/own_format.hpp"

namespace nbdstack::testing {

inline constexpr std::uint32_t kObject = 4096;

// Block `number` of the volume with the key "disk".
inline std::string disk_object(std::uint64_t number) {
  return ObjectNames("disk").block({number});
}

inline std::shared_ptr<const BlockFormat> plain_format(const std::string& key,
                                                       std::uint32_t object_size) {
  return std::make_shared<OwnFormat>(OwnFormatSettings{.key = key, .object_size = object_size});
}

}  // namespace nbdstack::testing
