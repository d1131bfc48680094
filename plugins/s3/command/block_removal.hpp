// The objects of a range of blocks, listed and removed in bulk: 1,000 a request, several requests
// at a time, each begun as soon as a listing has shown enough of them. Memory does not depend on
// how many there are.
//
// A listing may not show all there is. What it does not show and the volume's record says is stored
// is removed afterwards, by its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/block/range.hpp"
#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"
#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// How a verb changes objects.
struct ChangeOptions {
  std::size_t requests = 16;  // at a time, at least one
  // Called before each request that changes something, by any thread: throws where that is not
  // allowed any more. Empty: it always is.
  std::function<void()> check_writable{};
  // Called with the number of objects removed so far, by one thread at a time.
  std::function<void(std::uint64_t removed)> progress{};
  // So that a request that is carried out when the verb has ended does nothing to what others have
  // written since.
  ChangeGuard guard{};
  KnownBlocks recorded{};  // of the volume, before the verb changes it
};

class BlockRemoval {
 public:
  // All outlive this.
  BlockRemoval(ObjectStore& store, const BlockFormat& format, const ChangeOptions& options)
      : store_(store), format_(format), options_(options), changes_(store, options.guard) {}

  // Removes the blocks of [first, end) that have objects, as far as a listing or the record tells.
  // Throws what the store or check_writable
  // throws, when the requests under way have been answered: some are removed then, others not.
  void remove(BlockNumber first, BlockNumber end);

  // By all calls so far.
  [[nodiscard]] std::uint64_t removed() const { return removed_; }

 private:
  ObjectStore& store_;
  const BlockFormat& format_;
  const ChangeOptions& options_;
  GuardedChanges changes_;
  std::uint64_t removed_ = 0;
};

}  // namespace nbdstack
