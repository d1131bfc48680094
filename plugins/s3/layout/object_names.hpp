// What the objects of a volume are called.
//
//   KEY/%016x                 a block, by its number in lower case hexadecimal
//   KEY/nbdstack-volume.json  the descriptor (volume_descriptor.hpp)
//
// and the same without "KEY/" for a volume that has no key. nbdkit's own S3 plugin names blocks in
// the same way.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/block/range.hpp"

namespace nbdstack {

// The key without slashes at its ends and doubled ones within, which name nothing: so that "v",
// "v/" and "/v" are one volume with one lease. Throws Error(EINVAL) for a key that means another
// place to a file system or a proxy ("." and ".."), or that has control characters.
std::string normalised_key(std::string_view key);

class ObjectNames {
 public:
  explicit ObjectNames(const std::string& key) : prefix_(key.empty() ? "" : key + "/") {}

  [[nodiscard]] std::string block(BlockNumber block) const;
  [[nodiscard]] std::string descriptor() const;

  // The block that an object of this name holds; nothing for every other name.
  [[nodiscard]] std::optional<BlockNumber> parse_block(std::string_view name) const;

 private:
  std::string prefix_;
};

}  // namespace nbdstack
