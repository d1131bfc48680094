// A request for missing blocks, from the moment it is planned until its data is stored or dropped.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "filters/cache/block_cache.hpp"

namespace nbdstack {

// A run of consecutive blocks, read from below in one request by the one who started it. Whoever
// else needs pages of one of the blocks that are not valid waits until `done` and takes them from
// the buffer, also while it is being stored. While a fetch lies in BlockCache::fetches_ under a
// block's number, that block may be joined and will be stored if wanted; who makes what was read
// obsolete takes it out.
//
// A fetch may be widened by missing neighbours (CacheSettings::fetch_bytes). That is a hint, so the
// failure of a widened fetch is no error: whoever needs a block of it asks again, for that alone.
//
// All members but the buffer's bytes are protected by BlockCache::mutex_. The bytes are written by
// the one who runs the fetch before `done`, and only read after.
struct BlockCache::Fetch {
  BlockNumber first;
  std::vector<bool> store;  // one a block: keep it in the cache
  bool widened = false;     // blocks were added that nobody had asked for

  bool done = false;
  int error_code = 0;
  std::condition_variable finished;

  std::unique_ptr<std::byte[]> buffer;
  std::uint64_t offset = 0;  // of the first block on the disk
  std::size_t length = 0;

  [[nodiscard]] BlockNumber end() const { return {first.value + store.size()}; }
  [[nodiscard]] std::span<const std::byte> bytes(std::uint64_t at, std::size_t count) const {
    return {buffer.get() + (at - offset), count};
  }
};

// How a read is going to be served, piece by piece.
struct BlockCache::ReadPlan {
  struct Cached {
    Slot slot;  // pinned
    BlockPiece piece;
    PageMask zero;  // pages of it that have no storage
  };
  struct Fetched {
    std::shared_ptr<Fetch> fetch;
    BlockPiece piece;
    bool failed = false;  // as seen with the mutex held, when the fetch was done
  };
  std::vector<Cached> cached;
  std::vector<Fetched> fetched;
  std::vector<BlockPiece> zeros;                // remembered as ranges
  std::vector<std::shared_ptr<Fetch>> started;  // those of `fetched` that this read has to run
  std::vector<BlockPiece> later;                // to be planned again
  bool damaged = false;                         // part of it is lost
};

}  // namespace nbdstack
