// The readahead of one export, shared by its clients.
//
// Each read is planned before it is passed on, so that prefetches run beside it. The layer below
// decides which thread fetches:
//
//   parallel       threads of the filter (prefetch_threads.hpp), through the connection of the
//                  client whose read it was, until the client disconnects (lent_layer.hpp)
//   one at a time  the client's own thread, one piece after each read: so the server serializes
//                  these calls like the client's own, and a piece larger than a read saves waiting
//
// A read of data that is being fetched is passed on: the cache below lets it wait for that fetch.
//
// There are no errors: a failed fetch is forgotten, as the layer below has logged the reason. No
// fetch begins once the server stops: a layer below may spend its grace period on it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/block/layer.hpp"
#include "common/block/lent_layer.hpp"
#include "common/sync/mutex.hpp"
#include "filters/readahead/planner.hpp"
#include "filters/readahead/prefetch_threads.hpp"

namespace nbdstack {

struct ReadaheadOptions {
  unsigned streams = 8;
  std::uint64_t first_window_bytes = 128ULL << 10U;
  std::uint64_t largest_window_bytes = 32ULL << 20U;
  std::uint64_t most_bytes_in_flight = 64ULL << 20U;
  bool verbose = false;  // log each prefetch
  PrefetchCounters counters{};
  std::function<bool()> server_stops = [] { return false; };  // called before each fetch
};

class ReadaheadExport : public std::enable_shared_from_this<ReadaheadExport> {
 public:
  // `threads` outlives the export.
  ReadaheadExport(const ReadaheadOptions& options, const LayerTraits& below,
                  PrefetchThreads& threads);

  // Each read that begins also ends. `below` is the reader's own.
  void read_begins(const Range& read, const std::shared_ptr<LentLayer>& below);
  void read_ends(const Range& read);
  // Called after a read that succeeded. Does nothing over a parallel layer.
  void fetch_for_reader(Layer& below);

 private:
  void fetch_in_background(const Range& piece, const std::shared_ptr<LentLayer>& below);
  void drop(const Range& piece);
  // Returns false if nothing of the piece was left to fetch.
  bool fetch(Layer& below, const Range& piece);

  const ReadaheadOptions options_;
  const bool parallel_;
  PrefetchThreads& threads_;

  Mutex mutex_;  // not held across a call to a layer
  Planner planner_ GUARDED_BY(mutex_);
  // Pieces, if the layer below takes one call at a time.
  std::deque<Range> for_readers_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
