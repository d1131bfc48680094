// Blocks as they stand, under KEY/%016x.
#pragma once

#include <memory>
#include <string>

#include "plugins/s3/own_format.hpp"

namespace nbdstack::testing {

inline std::shared_ptr<const BlockFormat> plain_format(const std::string& key,
                                                       std::uint32_t object_size) {
  return std::make_shared<OwnFormat>(OwnFormatSettings{.key = key, .object_size = object_size});
}

}  // namespace nbdstack::testing
