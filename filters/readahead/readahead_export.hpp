// Reading ahead for one export: what its clients share.
//
// A plan is made when a read begins, before it goes down, so that what lies ahead is fetched while
// the read is under way. Who fetches depends on the layer below:
//
//   parallel       threads of our own (prefetch_threads.hpp), through the layer below of the client
//                  whose read it was, until he leaves (lent_layer.hpp)
//   one at a time  the reader himself, one piece after each read, through his own layer below: so
//                  the server keeps calls apart as it does for him alone, and a piece that is
//                  larger than a read saves waiting all the same
//
// A read of what is being fetched is passed on as it is: the layer below, a cache, lets it wait for
// the fetch under way.
//
// Errors: none. A fetch that fails is forgotten; the layer below has said why. None begins when the
// server has been told to stop: a layer below may take its time for what is asked after that.
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
  bool verbose = false;                                       // log what is asked for
  std::function<bool()> server_stops = [] { return false; };  // asked before each fetch
};

class ReadaheadExport : public std::enable_shared_from_this<ReadaheadExport> {
 public:
  // `threads` outlives the export.
  ReadaheadExport(const ReadaheadOptions& options, const LayerTraits& below,
                  PrefetchThreads& threads);

  // Each read that begins also ends. `below` is the reader's own.
  void read_begins(const Range& read, const std::shared_ptr<LentLayer>& below);
  void read_ends(const Range& read);
  // After a read that succeeded. Does nothing over a parallel layer.
  void fetch_for_reader(Layer& below);

 private:
  void fetch_in_background(const Range& piece, const std::shared_ptr<LentLayer>& below);
  void drop(const Range& piece);
  // False: there was nothing left to fetch of it.
  bool fetch(Layer& below, const Range& piece);

  const ReadaheadOptions options_;
  const bool parallel_;
  PrefetchThreads& threads_;

  Mutex mutex_;  // not held across a call to a layer
  Planner planner_ GUARDED_BY(mutex_);
  // Pieces, where the layer below takes one call at a time.
  std::deque<Range> for_readers_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
