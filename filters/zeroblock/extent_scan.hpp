// The walk over an export's extents that fills a ZeroMap in the background.
//
// It asks the layer below about everything once, from the beginning to the end, on the connection
// of one of the clients: when that leaves, the walk goes on where it was on another one, or on the
// next to come. (On a connection of its own, the export's name would be hidden from a plugin that
// asks nbdkit for it when it is opened; nbdkit's file plugin crashes then.) What a request changes
// meanwhile stays what the request has made it (ZeroMap::Watch). A walk that fails is over: what
// has been learnt stays, the rest is learnt from what passes.
//
// Bounds. One question at a time; at most kMostQuestions, so that a disk of 8 EiB of which the
// layer below tells 2 GiB at a time does not keep both busy for ever: what lies behind 128 TiB is
// learnt from what passes then. Many extents at once enter the map in portions, so that requests do
// not wait for long. A client that leaves waits for the question under way on its connection.
//
// A question that fails while its client leaves is asked again on another connection, because the
// layer below may have been told to hurry; not where the server stops, which is what it may have
// been told as well: a layer below takes its time for what is asked after that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

#include "common/block/layer.hpp"
#include "filters/zeroblock/zero_map.hpp"

namespace nbdstack {

class ExtentScan {
 public:
  static constexpr std::size_t kMostQuestions = 1U << 16U;

  struct Progress {
    std::uint64_t position = 0;
    std::size_t questions = 0;
  };

  // `map` outlives the scan. `server_stops` is asked when a question has failed; empty: it never
  // does.
  explicit ExtentScan(ZeroMap& map, std::function<bool()> server_stops = {})
      : map_(map), server_stops_(std::move(server_stops)) {}
  ExtentScan(const ExtentScan&) = delete;
  ExtentScan& operator=(const ExtentScan&) = delete;
  ~ExtentScan() { stop(); }

  // `below` may be asked from now on, and no more when remove() has returned.
  void add(Layer& below);
  void remove(Layer& below);

  // Nobody is asked any more.
  void stop();

  // Done, failed or stopped; and whether a client waits for the question under way. For tests.
  [[nodiscard]] bool is_over();
  [[nodiscard]] bool is_ending() const { return stopping_; }

  // The walk itself, from `progress` on until it is done or `stopping`; false: there is something
  // left. Throws what the layer below throws.
  static bool walk(Layer& below, ZeroMap& map, Progress& progress,
                   const std::atomic<bool>& stopping);

 private:
  void start_if_wanted();  // with mutex_ held
  void end_walk(std::unique_lock<std::mutex>& lock);
  void main();

  ZeroMap& map_;
  const std::function<bool()> server_stops_;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;  // protects everything below but progress_
  std::list<Layer*> layers_;
  Layer* asked_ = nullptr;  // by the thread; null: there is no thread
  Progress progress_;       // the thread's, while there is one
  bool over_ = false;
  std::thread thread_;
};

}  // namespace nbdstack
