// The blocks of a volume as objects of a store: every block is an object of its own, or has none
// and reads as zeros. The layout decides the objects' names and the blocks' coding
// (block_format.hpp).
//
// This handles names, codings and listings, but no locks or threads: the volume decides which
// thread may change a block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/block/range.hpp"
#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/unverified_notice.hpp"

namespace nbdstack {

struct ListedBlock;

// The blocks of a range that have an object.
struct StoredBlocks {
  std::vector<BlockNumber> blocks;  // ascending
  BlockNumber known_to;  // every block from the first requested up to here (exclusive) is known
};

class BlockObjects {
 public:
  // The most objects that one request can remove, or one page of a listing can show: S3's limit for
  // both.
  static constexpr std::size_t kBatch = 1000;

  // The result of a put.
  enum class Put : std::uint8_t { stored, removed };

  // Both outlive this.
  BlockObjects(ObjectStore& store, const BlockFormat& format, std::uint32_t block_size,
               const ChangeGuard& guard = {})
      : store_(store), format_(format), block_size_(block_size), changes_(store, guard) {}

  [[nodiscard]] ObjectStore& store() const { return store_; }
  [[nodiscard]] const BlockFormat& format() const { return format_; }

  // Reads the whole block, verified as far as the layout can. Returns false, with `data`
  // unspecified, if it has no object.
  bool get(BlockNumber block, std::span<std::byte> data);
  // Reads a part of it, verified likewise: as a range of the object if the layout has plain ones,
  // else from the whole.
  bool get_part(BlockNumber block, std::span<std::byte> part, std::uint32_t offset_in_block);

  // For the block's owner, which is about to change it: the content, and its version.
  struct Found {
    bool exists = false;
    ObjectVersion version{};  // unknown if changes have no conditions
  };
  Found get_to_change(BlockNumber block, std::span<std::byte> data);

  // The caller owns the block. `seen` is the version that it has read, or that there is none.
  Put put(BlockNumber block, std::span<const std::byte> data, const ObjectVersion& seen = {});
  [[nodiscard]] bool exists(BlockNumber block) {
    return store_.look_up(format_.name_of(block)).has_value();
  }

  // Returns whether a query would precede the removal of this block.
  [[nodiscard]] bool wants_look(BlockNumber block) const { return changes_.wants_look(block); }
  // Does that query beforehand, for a block that the caller owns: remove() makes them one by one.
  void look(BlockNumber block) { changes_.look({block, format_.name_of(block)}); }

  // Removes at most kBatch blocks, which the caller owns. Returns those that now have an object of
  // zeros instead of none, because may_create() is true of them.
  std::vector<BlockNumber> remove(std::span<const BlockNumber> blocks);

  // Returns whether an unanswered put of ours may still create an object: then the block is certain
  // to read as zeros only with an object of zeros, as made by put() and remove().
  [[nodiscard]] bool may_create(BlockNumber block) const { return changes_.may_create(block); }
  // Returns all such blocks of [first, end), ascending.
  [[nodiscard]] std::vector<BlockNumber> may_create(BlockNumber first, BlockNumber end) const;

  // Returns when no unanswered change of ours can create an object of a block of [first, end) that
  // has none and that may_create() is not true of. The caller owns them.
  void wait_until_absence_lasts(BlockNumber first, BlockNumber end);

  // Called with the versions of blocks in a listing.
  void learn(std::span<const ListedBlock> blocks);

  // Returns whether listing a part of the blocks costs less than listing all of them.
  [[nodiscard]] bool are_listed_in_order() const {
    return format_.names_are_ordered() && store_.lists_in_order();
  }

  // Returns the blocks of [first, end) that have an object; ends early after `limit` of them. Names
  // must be ordered.
  StoredBlocks stored(BlockNumber first, BlockNumber end, std::size_t limit);

 private:
  bool get_disputed(BlockNumber block, std::span<std::byte> data);
  std::optional<ObjectInfo> fetch_whole(BlockNumber block, std::span<std::byte> data);
  std::optional<ObjectInfo> fetch_plain(BlockNumber block, std::span<std::byte> data);
  std::optional<ObjectInfo> fetch_coded(BlockNumber block, std::span<std::byte> data);
  void put_object(BlockNumber block, std::span<const std::byte> data, const ObjectVersion& seen);

  ObjectStore& store_;
  const BlockFormat& format_;
  const std::uint32_t block_size_;
  UnverifiedNotice unverified_;  // for objects that are read whole although they may be coded
  GuardedChanges changes_;
};

}  // namespace nbdstack
