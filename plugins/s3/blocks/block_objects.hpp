// The blocks of a volume as objects of a store: every block is an object of its own, or has none
// and reads as zeros. What objects are called and how a block is coded, the layout says
// (block_format.hpp).
//
// Knows names, codings and listings, nothing of locks or threads: who may change a block is the
// volume's business.
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

// Which blocks of a range have an object.
struct StoredBlocks {
  std::vector<BlockNumber> blocks;  // ascending
  BlockNumber known_to;  // every block from the first asked for up to here (exclusive) is known
};

class BlockObjects {
 public:
  // How many objects one request can remove, and one page of a listing can show: S3's limit for
  // both.
  static constexpr std::size_t kBatch = 1000;

  // What became of a block that was put.
  enum class Put : std::uint8_t { stored, removed };

  // Both outlive this.
  BlockObjects(ObjectStore& store, const BlockFormat& format, std::uint32_t block_size,
               const ChangeGuard& guard = {})
      : store_(store), format_(format), block_size_(block_size), changes_(store, guard) {}

  [[nodiscard]] ObjectStore& store() const { return store_; }
  [[nodiscard]] const BlockFormat& format() const { return format_; }

  // The whole block, verified as far as the layout can. False: it has no object, and `data` is
  // unspecified.
  bool get(BlockNumber block, std::span<std::byte> data);
  // A part of it, verified likewise: as a range of the object where the layout has plain ones, else
  // out of the whole.
  bool get_part(BlockNumber block, std::span<std::byte> part, std::uint32_t offset_in_block);

  // For the block's owner, who is about to change it: what it found, and which version that was.
  struct Found {
    bool exists = false;
    ObjectVersion version{};  // unknown where changes carry no conditions
  };
  Found get_to_change(BlockNumber block, std::span<std::byte> data);

  // The caller owns the block. `seen` is the version that it has read, or that there is none.
  Put put(BlockNumber block, std::span<const std::byte> data, const ObjectVersion& seen = {});
  [[nodiscard]] bool exists(BlockNumber block) {
    return store_.look_up(format_.name_of(block)).has_value();
  }

  // The removal of this block would be preceded by a look at it.
  [[nodiscard]] bool wants_look(BlockNumber block) const { return changes_.wants_look(block); }
  // That look, beforehand, for a block that the caller owns: remove() has them one after the other.
  void look(BlockNumber block) { changes_.look({block, format_.name_of(block)}); }

  // At most kBatch blocks, which the caller owns. Returns those that have an object of zeros now
  // instead of none, because may_create() is true of them.
  std::vector<BlockNumber> remove(std::span<const BlockNumber> blocks);

  // A put of ours that was not answered may still make an object where there is none: the block
  // reads as zeros for certain only with an object of zeros, which put() and remove() see to.
  [[nodiscard]] bool may_create(BlockNumber block) const { return changes_.may_create(block); }
  // All such blocks of [first, end), ascending.
  [[nodiscard]] std::vector<BlockNumber> may_create(BlockNumber first, BlockNumber end) const;

  // Of blocks of [first, end) that have no object, and that may_create() is not true of, none will
  // get one by a change of ours that was not answered. The caller owns them.
  void wait_until_absence_lasts(BlockNumber first, BlockNumber end);

  // What a listing has shown of the blocks' versions.
  void learn(std::span<const ListedBlock> blocks);

  // A part of the blocks can be listed for less than all of them.
  [[nodiscard]] bool are_listed_in_order() const {
    return format_.names_are_ordered() && store_.lists_in_order();
  }

  // The blocks of [first, end) that have an object; the answer ends early after `limit` of them.
  // Names must be ordered.
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
  UnverifiedNotice unverified_;  // of objects that come whole though they may be coded
  GuardedChanges changes_;
};

}  // namespace nbdstack
