// The coding of a volume's blocks as objects, and their names. Each layout is a class:
// own_format.hpp, s3backer_format.hpp.
//
// Formats are immutable once made: any thread may call any function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/block/range.hpp"
#include "plugins/s3/store/object_attributes.hpp"

namespace nbdstack {

// A block as an object to put.
struct EncodedBlock {
  // The body: either the block itself, which the caller owns, or the content of `storage`.
  std::span<const std::byte> body;
  std::vector<std::byte> storage;
  ObjectAttributes attributes;
  // The store adds a checksum of its own.
  bool with_checksum = true;
};

class BlockFormat {
 public:
  BlockFormat() = default;
  BlockFormat(const BlockFormat&) = delete;
  BlockFormat& operator=(const BlockFormat&) = delete;
  virtual ~BlockFormat() = default;

  // Names. The objects of a volume are among those whose keys begin with prefix().
  [[nodiscard]] virtual const std::string& prefix() const = 0;
  [[nodiscard]] virtual std::string name_of(BlockNumber block) const = 0;
  // Returns the block in an object of this name, or nothing for every other name.
  [[nodiscard]] virtual std::optional<BlockNumber> parse_name(std::string_view name) const = 0;
  // Returns whether names sort like their numbers, so that a range of blocks is a range of keys.
  [[nodiscard]] virtual bool names_are_ordered() const = 0;

  // Returns whether every object is its block and nothing else: parts of it can be read, and a
  // whole one can be received directly into the client's buffer.
  [[nodiscard]] virtual bool is_plain() const = 0;
  // Returns how much longer than its block an object can be, in bytes.
  [[nodiscard]] virtual std::size_t overhead_bytes() const = 0;
  // Returns whether a block of zeros has no object, and so is removed instead of put.
  [[nodiscard]] virtual bool removes_zeros() const = 0;

  // `data` is a whole block, and outlives the result.
  [[nodiscard]] virtual EncodedBlock encode(BlockNumber block,
                                            std::span<const std::byte> data) const = 0;

  // Returns whether this object is its block verbatim.
  [[nodiscard]] virtual bool is_stored_plain(const ObjectInfo& object) const = 0;
  // Decodes the whole block from the whole object; `body` and `data` do not overlap. Throws
  // Error(EIO) that names the object and its fault: never returns wrong data.
  virtual void decode(BlockNumber block, std::span<const std::byte> body,
                      const ObjectAttributes& attributes, std::span<std::byte> data) const = 0;
};

}  // namespace nbdstack
