// Blocks as s3backer stores them with --blockHashPrefix: names that do not sort by number.
#pragma once

#include <memory>
#include <string>

#include "plugins/s3/layout/s3backer/s3backer_format.hpp"

namespace nbdstack::testing {

inline std::shared_ptr<const BlockFormat> hashed_format(const std::string& prefix,
                                                        const BlockGeometry& geometry) {
  return std::make_shared<S3backerFormat>(S3backerNames(prefix, true), geometry, S3backerCoding());
}

}  // namespace nbdstack::testing
