// nbdkit-cache-filter: blocks of a slow disk in a local file (man/nbdkit-cache-filter.pod).

#include <exception>
#include <memory>
#include <random>
#include <utility>

#include "common/block/disk_registry.hpp"
#include "common/error.hpp"
#include "common/io/service_manager.hpp"
#include "common/log.hpp"
#include "common/nbdkit/exit_status.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/server_options.hpp"
#include "common/nbdkit/server_user.hpp"
#include "common/quoted_name.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/cache_parameters.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/serving/export_cache.hpp"
#include "filters/cache/serving/last_write_back.hpp"
#include "filters/cache/serving/until_done.hpp"
#include "filters/cache/serving/write_back_reporter.hpp"
#include "filters/cache/store/durable/cache_directory.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "filters/cache/store/durable/taking_over.hpp"
#include "filters/cache/store/encrypted_temporary_store.hpp"
#include "filters/cache/store/temporary_store.hpp"

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
  using Registry = DiskRegistry<ExportCache>;

  void open_directory();
  void probe_temporary_directory() const;
  // Takes cache-dir over for the default export. Returns false if that cannot be opened now.
  bool take_directory_over();
  std::shared_ptr<ExportCache> make_export_cache(const OpenRequest& request, Layer& below);
  // Does the same with the store in cache-dir.
  std::shared_ptr<ExportCache> make_durable_cache(const OpenRequest& request, Layer& below,
                                                  const std::shared_ptr<DiskWatch>& watch);
  [[nodiscard]] CacheIdentity identity_for(const std::string& export_name,
                                           std::uint64_t size_bytes) const;
  std::unique_ptr<DurableStore> store_in_directory(std::uint64_t size_bytes);
  [[nodiscard]] std::unique_ptr<SlotStore> temporary_store() const;
  std::unique_ptr<Layer> open_below(ExportCache& cache);
  [[nodiscard]] bool loses_data(Backend& backend, const std::string& name, ExportCache& cache,
                                TimePoint since) const;

  CacheParameters parameters_;
  CacheSettings settings_;                     // from get_ready on
  std::shared_ptr<CacheDirectory> directory_;  // with cache-dir, from get_ready on
  std::shared_ptr<const UnitCipher> cipher_;   // of its pages; null if they are in the clear
  Mutex directory_mutex_;
  // The cache that uses the directory, and the store that get_ready() has loaded from it.
  std::weak_ptr<ExportCache> in_directory_ GUARDED_BY(directory_mutex_);
  std::unique_ptr<DurableStore> unused_store_ GUARDED_BY(directory_mutex_);
  std::unique_ptr<WorkerPool> reads_;  // from get_ready on; before the caches that use them
  std::unique_ptr<WorkerPool> writes_;
  bool may_write_from_the_start_ = false;
  Backend* backend_ = nullptr;  // from after_fork on
  Registry caches_{{.filter = "cache"}, parameters_.exports(), [](const ExportCache& cache) {
                     return !cache.engine()->has_unwritten();
                   }};
  std::unique_ptr<UntilDone> taking_over_later_;
};

// Files made in the directories now belong to the server's user, which makes more there later.
void CacheFilter::get_ready() {
  if (parameters_.is_durable()) make_directory_for_server_user(parameters_.cache_dir());
  as_server_user([this] { open_directory(); });
}

// Checks whether the directory is usable at all now, while the user can still see the error.
void CacheFilter::open_directory() {
  if (parameters_.is_durable()) {
    try {
      directory_ = CacheDirectory::acquire(parameters_.cache_dir());
      cipher_ = directory_->unlock(parameters_.passphrase());
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("cache-dir: {}", error.what()));
    }
  }
  parameters_.fit_to_file_system();
  settings_ = parameters_.settings();
  settings_.verbose = cache_debug_verbose != 0;
  // The caller of a write-back is one of the threads.
  reads_ = std::make_unique<WorkerPool>(settings_.threads - 1);
  writes_ = std::make_unique<WorkerPool>(settings_.threads - 1);
  may_write_from_the_start_ = !may_be_readonly_server();
  if (directory_ == nullptr) {
    probe_temporary_directory();
  } else if (const auto found = directory_->identity()) {
    // Everything but the disk itself is known before the layer below is opened. The directory's
    // content is checked now, too: after the fork the user would not see a refusal.
    CacheIdentity wanted = identity_for(found->export_name, found->disk_size_bytes);
    wanted.disk_id = found->disk_id;
    directory_->expect(wanted);
    const MutexLock lock(directory_mutex_);
    unused_store_ = store_in_directory(found->disk_size_bytes);
    unused_store_->load();
  }
}

void CacheFilter::probe_temporary_directory() const {
  try {
    const auto probe = temporary_store();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("TMPDIR: {}", error.what()));
  }
}

// Checks whether the content of an earlier server may be used before any client comes. Dirty
// content is written as soon as the layer below can be opened, with or without a client. If nothing
// is dirty, and closing that connection may end the server, this waits for a client.
void CacheFilter::after_fork(Backend& backend) {
  backend_ = &backend;
  {
    const MutexLock lock(directory_mutex_);
    if (unused_store_ == nullptr) return;
    if (may_end_with_last_connection() && !unused_store_->holds_unwritten()) return;
  }
  if (take_directory_over()) return;
  taking_over_later_ = std::make_unique<UntilDone>([this] {
    try {
      return take_directory_over();
    } catch (const std::exception& error) {
      log::error("{}", error.what());
      return true;  // clients receive the same error
    }
  });
}

bool CacheFilter::take_directory_over() {
  const CacheIdentity found = *directory_->identity();
  const bool is_default = is_default_export(found.export_name);
  if (!is_default && found.disk_id.empty()) {
    log::debug("cache: what {} holds of export {} waits for a client of that export",
               parameters_.cache_dir(), quoted_name(found.export_name));
    return true;
  }
  std::unique_ptr<Layer> below;
  try {
    below = backend_->open_default_export();
  } catch (const Error& error) {
    log::error(
        "cache: the plugin could not be opened to look after what {} holds; it is tried again: {}",
        parameters_.cache_dir(), error.reason());
    return false;
  }
  const ShownDisk disk = ShownDisk::of(*below);
  const bool is_its_disk = disk.identity != nullptr && disk.identity->id == found.disk_id;
  if (!is_default && !is_its_disk) return true;  // the content waits for a client of its export
  const OpenRequest request;
  caches_.find_or_make(request, disk, [&] { return make_export_cache(request, *below); });
  return true;
}

CacheIdentity CacheFilter::identity_for(const std::string& export_name,
                                        std::uint64_t size_bytes) const {
  return {.export_name = export_name,
          .disk_size_bytes = size_bytes,
          .block_size_bytes = settings_.block_size,
          .cache_id = parameters_.cache_id()};
}

std::unique_ptr<DurableStore> CacheFilter::store_in_directory(std::uint64_t size_bytes) {
  return std::make_unique<DurableStore>(
      std::make_unique<StoreDirectory>(directory_), settings_.block_size, size_bytes,
      parameters_.salvage() ? Damaged::salvage : Damaged::refuse, cipher_);
}

std::unique_ptr<SlotStore> CacheFilter::temporary_store() const {
  const std::string& directory = parameters_.temporary_directory();
  if (parameters_.passphrase()) {
    return std::make_unique<EncryptedTemporaryStore>(directory, settings_.block_size);
  }
  return std::make_unique<TemporaryStore>(directory, settings_.block_size);
}

std::shared_ptr<ExportCache> CacheFilter::make_export_cache(const OpenRequest& request,
                                                            Layer& below) {
  auto watch = std::make_shared<DiskWatch>(identity_of(below), may_write_from_the_start_);
  watch->admit(below);
  std::shared_ptr<ExportCache> cache;
  if (directory_ != nullptr) {
    cache = make_durable_cache(request, below, watch);
  } else {
    cache = std::make_shared<ExportCache>(settings_, below.traits().size_bytes, temporary_store(),
                                          *reads_, *writes_, watch,
                                          is_default_export(request.export_name));
  }
  cache->measure(metrics_of_export(request.export_name));
  if (cache->engine()->background().is_needed()) {
    if (cache->is_default() && backend_->serves_beside_clients()) {
      cache->start_background([this, target = cache.get()] { return open_below(*target); });
    } else {
      cache->start_background_of_clients();
    }
  }
  return cache;
}

std::shared_ptr<ExportCache> CacheFilter::make_durable_cache(
    const OpenRequest& request, Layer& below, const std::shared_ptr<DiskWatch>& watch) {
  const MutexLock lock(directory_mutex_);
  if (in_directory_.lock() != nullptr) {
    throw Error(EBUSY, fmt::format("cache-dir {} is in use for another disk than export {}: it has "
                                   "room for one",
                                   parameters_.cache_dir(), quoted_name(request.export_name)));
  }
  const std::uint64_t size = below.traits().size_bytes;
  TakingOver taking(directory_, identity_for(request.export_name, size), identity_of(below),
                    parameters_.stale_dirty());
  const auto found = directory_->identity();
  // The store that get_ready() has loaded is of no use for a disk that has grown since: no block
  // behind the old end would fit into it.
  if (found && found->disk_size_bytes != size) unused_store_.reset();
  auto store = unused_store_ != nullptr ? std::move(unused_store_) : store_in_directory(size);
  store = taking.prepare(std::move(store), below, std::random_device()());
  auto cache = std::make_shared<ExportCache>(settings_, size, std::move(store), *reads_, *writes_,
                                             watch, is_default_export(request.export_name));
  cache->set_directory(directory_);
  taking.record();
  watch->set_hooks(
      {.record_term =
           [directory = directory_, identity = taking.identity()](std::uint64_t term) mutable {
             identity.term = term;
             directory->record(identity);
           },
       .unwritten_bytes =
           [engine = std::weak_ptr(cache->engine())] {
             const auto there = engine.lock();
             return there == nullptr ? 0 : there->unwritten_bytes();
           }});
  in_directory_ = cache;
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
  log::debug("cache: underlying file size: {}", below.traits().size_bytes);
  const auto cache = caches_.find_or_make(request, ShownDisk::of(below),
                                          [&] { return make_export_cache(request, below); });
  const auto& engine = cache->engine();
  const bool shares_calls = !below.traits().parallel && engine->background().is_needed();
  auto layer =
      shares_calls
          ? std::make_unique<CacheLayer>(cache->exclusive(below), engine, settings_, cache->watch())
          : std::make_unique<CacheLayer>(below, engine, settings_, cache->watch());
  layer->set_name(quoted_name(request.export_name));
  if (LentLayers* const borrower = cache->borrower()) layer->lend_below(*borrower);
  return layer;
}

// Clients are gone, or were cut off by a signal. Their dirty content is written below now, or stays
// in the cache directory, or is lost with this process, which is logged.
void CacheFilter::cleanup(Backend& backend) {
  taking_over_later_.reset();
  const TimePoint since = std::chrono::steady_clock::now();
  tell_service_manager("STOPPING=1");
  const auto sum = [this](std::uint64_t (BlockCache::*number)() const) {
    std::uint64_t all = 0;
    for (const auto& [name, cache] : caches_.all()) all += (cache->engine().get()->*number)();
    return all;
  };
  const WriteBackReporter reporter("cache: before the server ends",
                                   {[sum] { return sum(&BlockCache::unwritten_bytes); },
                                    [sum] { return sum(&BlockCache::write_backs_done); }});
  for (const auto& [name, cache] : caches_.all()) {
    cache->stop_background();
    if (cache->engine()->has_unwritten() && loses_data(backend, name, *cache, since)) {
      fail_at_exit();
    }
    cache->close();
  }
}

bool CacheFilter::loses_data(Backend& backend, const std::string& name, ExportCache& cache,
                             TimePoint since) const {
  const LastWriteBack last{.export_name = name,
                           .cache_dir = directory_ == nullptr || !directory_->is_found_again()
                                            ? ""
                                            : parameters_.cache_dir(),
                           .mode = settings_.mode,
                           .since = since,
                           .longest = settings_.stop_timeout};
  return last.loses_data(*cache.engine(), [&] {
    auto below = backend.open_default_export();
    if (!cache.is_default() && !cache.watch()->knows(*below)) {
      throw Error(EIO,
                  "all clients of this export have left, and nbdkit tells a plugin its name only "
                  "for clients");
    }
    if (!cache.watch()->may_write_back(*below)) {
      throw Error(EROFS, "this server may not write the disk");
    }
    return below;
  });
}

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::CacheFilter)
