// The names of a volume's objects.
//
//   KEY/%016x                 a block, by its number in lower case hexadecimal
//   KEY/nbdstack-volume.json  the descriptor (volume_descriptor.hpp)
//
// A volume without a key has the same names without "KEY/". nbdkit's own S3 plugin names blocks in
// the same way.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/block/range.hpp"

namespace nbdstack {

// Removes slashes at the key's ends and doubled ones within, which name nothing, so that "v", "v/"
// and "/v" are one volume with one lease. Throws Error(EINVAL) for a key that means another place
// to a file system or a proxy ("." and ".."), or that contains control characters.
std::string normalised_key(std::string_view key);

class ObjectNames {
 public:
  explicit ObjectNames(const std::string& key) : prefix_(key.empty() ? "" : key + "/") {}

  [[nodiscard]] std::string block(BlockNumber block) const;
  [[nodiscard]] std::string descriptor() const;

  // Returns the block in an object of this name, or nothing for every other name.
  [[nodiscard]] std::optional<BlockNumber> parse_block(std::string_view name) const;

 private:
  std::string prefix_;
};

}  // namespace nbdstack
