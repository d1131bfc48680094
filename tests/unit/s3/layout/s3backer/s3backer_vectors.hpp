// The volumes in tests/vectors/s3backer, which s3backer itself wrote.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "plugins/s3/layout/s3backer/s3backer_format.hpp"
#include "plugins/s3/store/object_attributes.hpp"

namespace nbdstack::s3backer_vectors {

struct StoredObject {
  std::string key;
  ObjectAttributes attributes;
  std::vector<std::byte> body;
};

struct StoredVolume {
  std::string bucket;
  std::string prefix;
  BlockGeometry geometry{0, 4096};
  std::optional<std::string> password;
  // What the options say.
  Compression compression = Compression::none;
  int level = 0;
  std::string cipher;  // empty: none
  bool with_hash = false;
  std::vector<StoredObject> objects;

  [[nodiscard]] S3backerNames names() const { return {prefix, with_hash}; }
  // With the volume's own options.
  [[nodiscard]] S3backerFormat format() const;
  [[nodiscard]] const StoredObject& object_of(BlockNumber block) const;
};

// File names without ".json".
const std::vector<std::string>& volume_names();
StoredVolume load(const std::string& name);

// A block of the disk that all volumes hold.
std::vector<std::byte> block_of_image(BlockNumber block);

}  // namespace nbdstack::s3backer_vectors
