// The names of an s3backer volume's objects.
//
//   PREFIX%08x             a block, by its number in lower case hexadecimal
//   PREFIX%08x-%08x        the same with --blockHashPrefix: a hash of the number goes first, which
//                          spreads neighbouring blocks over the key space
//   PREFIXs3backer-mounted the mount token (s3backer_volume.hpp)
//
// PREFIX is used verbatim, no slash is added: s3backer's --prefix=dir/ is "dir/", its bucket
// argument "bucket/sub" is "sub/". Numbers of blocks are below 2^32. Every other key under the
// prefix does not belong to the volume.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/block/range.hpp"

namespace nbdstack {

class S3backerNames {
 public:
  S3backerNames(std::string prefix, bool with_hash)
      : prefix_(std::move(prefix)), with_hash_(with_hash) {}

  [[nodiscard]] const std::string& prefix() const { return prefix_; }
  [[nodiscard]] bool with_hash() const { return with_hash_; }

  // `block` is below 2^32.
  [[nodiscard]] std::string block(BlockNumber block) const;
  [[nodiscard]] std::string mount_token() const;

  // Returns the block in an object of this name, or nothing for every other name, including one
  // with a hash that does not fit its number.
  [[nodiscard]] std::optional<BlockNumber> parse_block(std::string_view name) const;

  // Returns the hash of --blockHashPrefix.
  static std::uint32_t hash_of(std::uint32_t block);

 private:
  std::string prefix_;
  bool with_hash_;
};

}  // namespace nbdstack
