// The blocks of a volume as objects of a store: block n is the object KEY/%016x, exactly
// object_size bytes long, the last one too. A block without an object reads as zeros.
//
// Knows names and listings, nothing of locks or threads: who may change a block is the volume's
// business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "plugins/s3/object_names.hpp"
#include "plugins/s3/object_store.hpp"

namespace nbdstack {

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

  // `store` outlives this.
  BlockObjects(ObjectStore& store, const std::string& key) : store_(store), names_(key) {}

  [[nodiscard]] const ObjectNames& names() const { return names_; }

  // The whole object, verified; `body` is object_size long. False: there is none.
  bool get(BlockNumber block, std::span<std::byte> body) {
    return store_.get(names_.block(block), body);
  }
  bool get_range(BlockNumber block, std::span<std::byte> body, std::uint64_t offset) {
    return store_.get_range(names_.block(block), body, offset);
  }
  void put(BlockNumber block, std::span<const std::byte> body) {
    store_.put(names_.block(block), body, {});
  }
  [[nodiscard]] bool exists(BlockNumber block) {
    return store_.size_of(names_.block(block)).has_value();
  }

  // At most kBatch blocks.
  void remove(std::span<const BlockNumber> blocks);

  // The blocks of [first, end) that have an object; the answer ends early after `limit` of them.
  StoredBlocks stored(BlockNumber first, BlockNumber end, std::size_t limit);

  // The object of the first block at or behind `first` that has one, whatever the volume's size.
  std::optional<ListedObject> first_stored(BlockNumber first);

 private:
  ObjectStore& store_;
  ObjectNames names_;
};

}  // namespace nbdstack
