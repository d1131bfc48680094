// Lists the objects of a volume by several requests at a time, and passes them on as they arrive.
//
// A service lists 1,000 keys a request, one page after the other, which takes minutes for a large
// volume. If names sort like numbers, the rest of a range is halved whenever a thread is idle and a
// page shows that there may be more. That spreads the work evenly wherever the objects are. Names
// that begin with a hash are listed by their first digit, in sixteen equal parts, if there is more
// than one page. A store whose listings have an order of their own is listed as a whole.
//
//   n objects     requests, if no other keys lie between them
//   below 1,000   1
//   more          at most ceil(n / 1,000) + the lesser of n / 1,000 and 64, in order
//                 exactly ceil(n / 1,000), in order, with one request at a time
//                 at most ceil(n / 1,000) + 17, by hash
//                 exactly ceil(n / 1,000) if the store is known to have its own order
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/worker_pool.hpp"
#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct ListedBlock {
  BlockNumber block;
  std::uint64_t size_bytes = 0;
  std::string etag{};  // ListedObject's
};

struct ListedBlocks {
  std::vector<ListedBlock> blocks;
  // All blocks in [first, end) that have objects have been passed on by now.
  BlockNumber first;
  BlockNumber end;
};

class BlockListing {
 public:
  static constexpr std::size_t kHalvings_max = 64;

  // Called by one thread at a time. Returns false to end the listing: it is not called again, and
  // requests in flight are waited for. `blocks` may be empty.
  using Visit = std::function<bool(const ListedBlocks&)>;

  // Both outlive this. `requests` is the number of requests at a time, at least one.
  BlockListing(ObjectStore& store, const BlockFormat& format, std::size_t requests)
      : store_(store), format_(format), pool_(requests - 1), requests_(requests) {}

  // Visits the blocks of [first, end), each of them once (list_in_any_order() has exceptions).
  // Exceptions of the store and of `visit` propagate, once the requests in flight have ended.
  void run(BlockNumber first, BlockNumber end, const Visit& visit);

  // As run(), by the caller's thread alone and in ascending order; names must sort like numbers.
  static void run_in_order(ObjectStore& store, const BlockFormat& format, BlockNumber first,
                           BlockNumber end, const Visit& visit);

 private:
  class Work;

  using HandOn = std::function<bool(std::vector<ListedBlock>&)>;

  // Returns false if the store does not list in order; nothing was visited then.
  bool run_in_parts(BlockNumber first, BlockNumber end, const Visit& visit);
  void run_hashed(BlockNumber first, BlockNumber end, const Visit& visit);
  void run_as_a_whole(BlockNumber first, BlockNumber end, const Visit& visit);
  void list_all(const std::string& prefix, BlockNumber first, BlockNumber end,
                const HandOn& hand_on);
  // Adds the object's block if that is in [first, end).
  void add(const ListedObject& object, BlockNumber first, BlockNumber end,
           std::vector<ListedBlock>& blocks) const;

  ObjectStore& store_;
  const BlockFormat& format_;
  WorkerPool pool_;
  const std::size_t requests_;
};

}  // namespace nbdstack
