// The whole cache of one export: the engine, and its background work.
#pragma once

#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "common/block/background_below.hpp"
#include "common/block/exclusive_layer.hpp"
#include "common/block/lent_layer.hpp"
#include "common/log.hpp"
#include "common/metrics/registry.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/serving/background_thread.hpp"
#include "filters/cache/serving/cache_metrics.hpp"
#include "filters/cache/serving/disk_watch.hpp"
#include "filters/cache/store/durable/cache_directory.hpp"

namespace nbdstack {

class ExportCache {
 public:
  // `is_default`: this export is the one that is opened when there is no client.
  ExportCache(const CacheSettings& settings, std::uint64_t size_bytes,
              std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes,
              std::shared_ptr<DiskWatch> watch, bool is_default)
      : engine_(
            std::make_shared<BlockCache>(settings, size_bytes, std::move(store), reads, writes)),
        watch_(std::move(watch)),
        is_default_(is_default) {}
  ExportCache(const ExportCache&) = delete;
  ExportCache& operator=(const ExportCache&) = delete;
  // Leaves the directory in good order.
  ~ExportCache() { close(); }

  [[nodiscard]] const std::shared_ptr<BlockCache>& engine() const { return engine_; }
  // Sets the place of the store. Called before anything else.
  void set_directory(std::shared_ptr<CacheDirectory> directory) {
    directory_ = std::move(directory);
  }
  [[nodiscard]] bool is_default() const { return is_default_; }
  // Returns the check that the disk below is still ours.
  [[nodiscard]] const std::shared_ptr<DiskWatch>& watch() const { return watch_; }

  // Clients and the background call the layer below independently of each other. If it allows one
  // call at a time, all calls use this wrapper.
  [[nodiscard]] std::unique_ptr<Layer> exclusive(Layer& below) {
    return std::make_unique<ExclusiveLayer>(below, one_call_below_);
  }
  [[nodiscard]] std::unique_ptr<Layer> exclusive(std::unique_ptr<Layer> below) {
    if (below->traits().parallel) return below;
    return std::make_unique<ExclusiveLayer>(std::move(below), one_call_below_);
  }

  void start_background(OwnBelow::Open open_below) {
    start_background(std::make_unique<OwnBelow>(std::move(open_below), clients_));
  }
  // Works over the layers below of clients, which lend them when they connect.
  void start_background_of_clients() { start_background(std::make_unique<ClientsBelow>(clients_)); }
  // Returns the borrower of clients' layers, or null if none is needed.
  [[nodiscard]] LentLayers* borrower() { return background_ != nullptr ? &clients_ : nullptr; }
  // Waits for work under way. Called after the last request.
  void stop_background() { background_.reset(); }
  // Shows what the cache does, from now on.
  void measure(const Metrics& metrics) { metrics_ = cache_metrics(metrics, engine_); }
  // The very last call. Failures are logged.
  void close() {
    stop_background();
    if (std::exchange(closed_, true)) return;
    // Nothing was written: a directory that was not taken into use stays so.
    if (directory_ != nullptr && directory_->is_pending()) return;
    try {
      engine_->close();
    } catch (const std::exception& error) {
      log::error("cache: the cache directory could not be closed in good order: {}", error.what());
    }
  }

 private:
  void start_background(std::unique_ptr<BackgroundBelow> below) {
    background_ = std::make_unique<BackgroundThread>(
        *engine_, std::move(below),
        [watch = watch_](Layer& layer) { return watch->may_write_back(layer); });
  }

  Mutex one_call_below_;
  std::shared_ptr<BlockCache> engine_;
  std::shared_ptr<DiskWatch> watch_;
  const bool is_default_;
  std::shared_ptr<CacheDirectory> directory_;
  bool closed_ = false;
  LentLayers clients_{[this] { background_->wake(); }};
  std::unique_ptr<BackgroundThread> background_;  // destroyed before the engine that it uses
  std::vector<MetricsRegistry::Sampled> metrics_;
};

}  // namespace nbdstack
