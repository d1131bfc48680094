// Lists the objects of a range of blocks and removes them in bulk: 1,000 a request, several
// requests at a time, each begun as soon as a listing has shown enough of them. Memory does not
// depend on their number.
//
// A listing may be incomplete. Blocks that it lacks but the volume's record contains are removed
// afterwards, by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/block/range.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"
#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// The settings for changes of objects by a verb.
struct ChangeOptions {
  std::size_t requests = 16;  // at a time, at least one
  // Called before each request that changes something, by any thread; throws if that is not allowed
  // any more. If empty, it is always allowed.
  std::function<void()> check_writable{};
  // Called with the number of objects removed so far, by one thread at a time.
  std::function<void(std::uint64_t removed)> progress{};
  // A request that the store executes after the verb has ended must not undo what others write
  // then.
  ChangeGuard guard{};
  KnownBlocks recorded{};  // of the volume, before the verb changes it
};

class BlockRemoval {
 public:
  // All outlive this.
  BlockRemoval(ObjectStore& store, const BlockFormat& format, const ChangeOptions& options)
      : store_(store), format_(format), options_(options), changes_(store, options.guard) {}

  // Removes the blocks of [first, end) that have objects according to a listing or the record. When
  // the store or check_writable throws, this waits for the requests under way and throws the same:
  // some blocks are removed then.
  void remove(BlockNumber first, BlockNumber end);

  // Returns the number of objects removed by all calls so far.
  [[nodiscard]] std::uint64_t removed() const {
    const MutexLock lock(counting_);
    return removed_;
  }

 private:
  ObjectStore& store_;
  const BlockFormat& format_;
  const ChangeOptions& options_;
  GuardedChanges changes_;
  mutable Mutex counting_;
  std::uint64_t removed_ GUARDED_BY(counting_) = 0;
};

}  // namespace nbdstack
