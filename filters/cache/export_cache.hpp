// All there is of one export's cache: the engine, and what drives it in the background.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "common/block/exclusive_layer.hpp"
#include "common/block/lent_layer.hpp"
#include "filters/cache/background_below.hpp"
#include "filters/cache/background_thread.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {

class ExportCache {
 public:
  ExportCache(const CacheSettings& settings, std::uint64_t size_bytes,
              std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes)
      : engine_(
            std::make_shared<BlockCache>(settings, size_bytes, std::move(store), reads, writes)) {}

  [[nodiscard]] const std::shared_ptr<BlockCache>& engine() const { return engine_; }

  // Clients and the background call the layer below independently of each other. Where it takes one
  // call at a time, all of them go through this.
  [[nodiscard]] std::unique_ptr<Layer> exclusive(Layer& below) {
    return std::make_unique<ExclusiveLayer>(below, one_call_below_);
  }
  [[nodiscard]] std::unique_ptr<Layer> exclusive(std::unique_ptr<Layer> below) {
    if (below->traits().parallel) return below;
    return std::make_unique<ExclusiveLayer>(std::move(below), one_call_below_);
  }

  void start_background(OwnBelow::Open open_below) {
    background_ = std::make_unique<BackgroundThread>(
        *engine_, std::make_unique<OwnBelow>(std::move(open_below)));
  }
  // Over the layers below of clients, which lend them as they come.
  void start_background_of_clients() {
    background_ =
        std::make_unique<BackgroundThread>(*engine_, std::make_unique<ClientsBelow>(clients_));
    works_for_clients_ = true;
  }
  // Where clients lend their layers; nothing: nobody needs them.
  [[nodiscard]] LentLayers* borrower() { return works_for_clients_ ? &clients_ : nullptr; }
  // Waits for what is under way; no request comes any more.
  void stop_background() { background_.reset(); }

 private:
  std::mutex one_call_below_;
  std::shared_ptr<BlockCache> engine_;
  bool works_for_clients_ = false;
  LentLayers clients_{[this] { background_->wake(); }};
  std::unique_ptr<BackgroundThread> background_;  // before the engine that it uses goes
};

}  // namespace nbdstack
