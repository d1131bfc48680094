// nbdkit-cache-filter: blocks of a slow disk in a local file (man/nbdkit-cache-filter.pod).

#include <memory>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "common/io/service_manager.hpp"
#include "common/log.hpp"
#include "common/nbdkit/exit_status.hpp"
#include "common/nbdkit/export_registry.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/server_user.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/cache_layer.hpp"
#include "filters/cache/cache_parameters.hpp"
#include "filters/cache/durable/cache_directory.hpp"
#include "filters/cache/durable/durable_store.hpp"
#include "filters/cache/export_cache.hpp"
#include "filters/cache/last_write_back.hpp"
#include "filters/cache/stop_extension.hpp"
#include "filters/cache/temporary_store.hpp"

// -D cache.verbose=1: a debug message for every block that is stored, written back or reclaimed.
extern "C" {
__attribute__((visibility("default"))) int cache_debug_verbose = 0;
}

namespace nbdstack {
namespace {

class CacheFilter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {.name = "cache",
            .longname = "nbdstack caching filter",
            .description = "Caches blocks of the layer below in a local file."};
  }

  ParameterTable parameters() override { return parameters_.table(); }
  void config_complete() override { parameters_.check(); }
  void get_ready() override;
  void after_fork(Backend& backend) override;
  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override;
  void cleanup(Backend& backend) override;

 private:
  void open_directory();
  std::shared_ptr<ExportCache> export_cache(const std::string& export_name,
                                            std::uint64_t size_bytes);
  std::shared_ptr<ExportCache> make_export_cache(const std::string& export_name,
                                                 std::uint64_t size_bytes);
  [[nodiscard]] CacheIdentity identity_of(const std::string& export_name,
                                          std::uint64_t size_bytes) const;
  std::unique_ptr<DurableStore> store_in_directory(std::uint64_t size_bytes);
  std::unique_ptr<Layer> open_below(ExportCache& cache);
  [[nodiscard]] bool loses_data(Backend& backend, const std::string& name, ExportCache& cache,
                                TimePoint since) const;

  CacheParameters parameters_;
  CacheSettings settings_;  // from get_ready on
  // With cache-dir, from get_ready on. The one export that it is for takes it over.
  CacheDirectory* directory_ = nullptr;
  std::unique_ptr<CacheDirectory> unused_directory_;
  // The same with what it holds, from get_ready on, where it holds a cache.
  std::unique_ptr<DurableStore> unused_store_;
  std::unique_ptr<WorkerPool> reads_;  // from get_ready on; before the caches that use them
  std::unique_ptr<WorkerPool> writes_;
  Backend* backend_ = nullptr;  // from after_fork on
  ExportRegistry<ExportCache> caches_;
};

// What is made in the directories now belongs to the server, which makes more there later.
void CacheFilter::get_ready() {
  as_server_user([this] { open_directory(); });
}

// Whether the directory can be used at all is found out now, while there is somebody to be told.
void CacheFilter::open_directory() {
  if (parameters_.is_durable()) {
    try {
      unused_directory_ = CacheDirectory::acquire(parameters_.cache_dir());
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("cache-dir: {}", error.what()));
    }
    directory_ = unused_directory_.get();
  }
  parameters_.fit_to_file_system();
  settings_ = parameters_.settings();
  settings_.verbose = cache_debug_verbose != 0;
  // The caller of a write-back works along.
  reads_ = std::make_unique<WorkerPool>(settings_.threads - 1);
  writes_ = std::make_unique<WorkerPool>(settings_.threads - 1);
  if (directory_ == nullptr) {
    const TemporaryStore probe(parameters_.temporary_directory(), settings_.block_size);
  } else if (const auto& found = directory_->identity()) {
    // All but the size is known before the layer below is asked. Whether it is whole is told now,
    // too: nobody is told of what is refused after the fork.
    directory_->claim(identity_of(found->export_name, found->disk_size_bytes));
    unused_store_ = store_in_directory(found->disk_size_bytes);
    unused_store_->load();
  }
}

// What an earlier server left dirty goes down as soon as the layer below can be opened, whether
// clients come or not.
void CacheFilter::after_fork(Backend& backend) {
  backend_ = &backend;
  if (directory_ == nullptr || !directory_->identity()) return;
  const CacheIdentity found = *directory_->identity();
  if (!is_default_export(found.export_name)) {
    log::debug("cache: what {} holds of export '{}' waits for a client of that export",
               parameters_.cache_dir(), found.export_name);
    return;
  }
  std::optional<std::uint64_t> size;
  try {
    size = backend.open_default_export()->traits().size_bytes;
  } catch (const Error& error) {
    log::error(
        "cache: the plugin could not be opened to look after what {} holds; it is tried again: {}",
        parameters_.cache_dir(), error.is_reported() ? "see the message above" : error.what());
  }
  if (size) directory_->claim(identity_of(found.export_name, *size));
  export_cache(found.export_name, found.disk_size_bytes);
}

CacheIdentity CacheFilter::identity_of(const std::string& export_name,
                                       std::uint64_t size_bytes) const {
  return {.export_name = export_name,
          .disk_size_bytes = size_bytes,
          .block_size_bytes = settings_.block_size,
          .cache_id = parameters_.cache_id()};
}

std::unique_ptr<DurableStore> CacheFilter::store_in_directory(std::uint64_t size_bytes) {
  return std::make_unique<DurableStore>(std::move(unused_directory_), settings_.block_size,
                                        size_bytes,
                                        parameters_.salvage() ? Damaged::salvage : Damaged::refuse);
}

std::shared_ptr<ExportCache> CacheFilter::export_cache(const std::string& export_name,
                                                       std::uint64_t size_bytes) {
  return caches_.find_or_make(export_name,
                              [&] { return make_export_cache(export_name, size_bytes); });
}

std::shared_ptr<ExportCache> CacheFilter::make_export_cache(const std::string& export_name,
                                                            std::uint64_t size_bytes) {
  std::unique_ptr<SlotStore> store;
  if (directory_ != nullptr) {
    directory_->claim(identity_of(export_name, size_bytes));
    if (unused_store_ == nullptr && unused_directory_ == nullptr) {
      throw Error(EIO, fmt::format("cache: the cache in {} could not be opened; see above, and "
                                   "restart the server",
                                   parameters_.cache_dir()));
    }
    store = unused_store_ != nullptr ? std::move(unused_store_) : store_in_directory(size_bytes);
  } else {
    store =
        std::make_unique<TemporaryStore>(parameters_.temporary_directory(), settings_.block_size);
  }
  auto cache =
      std::make_shared<ExportCache>(settings_, size_bytes, std::move(store), *reads_, *writes_);
  if (cache->engine()->needs_background()) {
    if (is_default_export(export_name)) {
      cache->start_background([this, target = cache.get()] { return open_below(*target); });
    } else {
      cache->start_background_of_clients();
    }
  }
  return cache;
}

std::unique_ptr<Layer> CacheFilter::open_below(ExportCache& cache) {
  auto below = backend_->open_default_export();
  const std::uint64_t size = below->traits().size_bytes;
  if (size != cache.engine()->geometry().size_bytes()) {
    throw Error(EINVAL,
                fmt::format("the plugin's disk is {} bytes long now, and was {} when it was cached",
                            size, cache.engine()->geometry().size_bytes()));
  }
  return cache.exclusive(std::move(below));
}

std::unique_ptr<Layer> CacheFilter::open(Layer& below, const OpenRequest& request) {
  const std::uint64_t size = below.traits().size_bytes;
  log::debug("cache: underlying file size: {}", size);
  const auto cache = export_cache(request.export_name, size);
  const auto& engine = cache->engine();
  if (engine->geometry().size_bytes() != size) {
    throw Error(EINVAL, fmt::format("cache: export '{}' was {} bytes long when it was first opened "
                                    "and is {} now; restart the server to serve the new size",
                                    request.export_name, engine->geometry().size_bytes(), size));
  }
  const bool shares_calls = !below.traits().parallel && engine->needs_background();
  auto layer = shares_calls
                   ? std::make_unique<CacheLayer>(cache->exclusive(below), engine, settings_)
                   : std::make_unique<CacheLayer>(below, engine, settings_);
  if (LentLayers* const borrower = cache->borrower()) layer->lend_below(*borrower);
  return layer;
}

// Clients are gone, or cut off by a signal. What they left dirty goes down now, or stays in the
// cache directory, or is lost with this process, which is told to everybody who may listen.
void CacheFilter::cleanup(Backend& backend) {
  const TimePoint since = std::chrono::steady_clock::now();
  tell_service_manager("STOPPING=1");
  const StopExtension extension([this] {
    std::uint64_t done = 0;
    for (const auto& [name, cache] : caches_.all()) done += cache->engine()->write_backs_done();
    return done;
  });
  for (const auto& [name, cache] : caches_.all()) {
    cache->stop_background();
    if (cache->engine()->has_unwritten() && loses_data(backend, name, *cache, since)) {
      fail_at_exit();
    }
    try {
      cache->engine()->close();
    } catch (const Error& error) {
      log::error("cache: export '{}': the cache directory could not be closed in good order: {}",
                 name, error.what());
    }
  }
}

bool CacheFilter::loses_data(Backend& backend, const std::string& name, ExportCache& cache,
                             TimePoint since) const {
  const LastWriteBack last{.export_name = name,
                           .cache_dir = directory_ == nullptr ? "" : parameters_.cache_dir(),
                           .mode = settings_.mode,
                           .since = since,
                           .longest = settings_.stop_timeout};
  return last.loses_data(*cache.engine(), [&] {
    if (is_default_export(name)) return backend.open_default_export();
    throw Error(EIO,
                "all clients of this export have left, and nbdkit tells a plugin its name only "
                "for clients");
  });
}

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::CacheFilter)
