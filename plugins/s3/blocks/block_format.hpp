// How the blocks of a volume become objects: their names and their coding. One class per layout:
// own_format.hpp, s3backer_format.hpp.
//
// Formats are immutable once made: every method may be called from any thread.
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

// A block as its object: what to put.
struct EncodedBlock {
  // The body: either the block itself, which the caller owns, or what lies in `storage`.
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
  // The block that an object of this name holds; nothing for every other name.
  [[nodiscard]] virtual std::optional<BlockNumber> parse_name(std::string_view name) const = 0;
  // Names sort as their numbers do, so that a range of blocks is a range of keys.
  [[nodiscard]] virtual bool names_are_ordered() const = 0;

  // Every object is its block and nothing else: parts of it can be read, and a whole one be
  // received where the client wants it.
  [[nodiscard]] virtual bool is_plain() const = 0;
  // How much longer than its block an object can be, in bytes.
  [[nodiscard]] virtual std::size_t overhead_bytes() const = 0;
  // A block of zeros has no object: it is removed, not put.
  [[nodiscard]] virtual bool removes_zeros() const = 0;

  // `data` is a whole block, and outlives the result.
  [[nodiscard]] virtual EncodedBlock encode(BlockNumber block,
                                            std::span<const std::byte> data) const = 0;

  // True: this object is its block as it stands.
  [[nodiscard]] virtual bool is_stored_plain(const ObjectInfo& object) const = 0;
  // The whole block from the whole object; `body` and `data` do not overlap. Throws Error(EIO) that
  // names the object and says what is wrong with it: never wrong data.
  virtual void decode(BlockNumber block, std::span<const std::byte> body,
                      const ObjectAttributes& attributes, std::span<std::byte> data) const = 0;
};

}  // namespace nbdstack
