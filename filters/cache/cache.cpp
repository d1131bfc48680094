// nbdkit-cache-filter: blocks of a slow disk in a local file (man/nbdkit-cache-filter.pod).

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/nbdkit/export_registry.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/cache_layer.hpp"

// -D cache.verbose=1: a debug message for every block that is stored, written back or reclaimed.
extern "C" {
__attribute__((visibility("default"))) int cache_debug_verbose = 0;
}

namespace nbdstack {
namespace {

// Calls to the layer below that one flush, fetch or write-back has under way, besides the request's
// own thread.
constexpr std::size_t kWorkers = 15;

class CacheFilter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {.name = "cache",
            .longname = "nbdstack caching filter",
            .description = "Caches blocks of the layer below in a local file."};
  }

  ParameterTable parameters() override;
  void config_complete() override;
  void get_ready() override;
  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override;
  void cleanup(Backend& backend) override;

 private:
  Parameter cache_on_read_parameter();

  enum class OnRead : std::uint8_t { no, yes, while_path_exists };

  CacheSettings settings_;
  std::uint64_t min_block_size_ = 64U << 10U;
  OnRead on_read_ = OnRead::no;
  std::string on_read_path_;
  WorkerPool pool_{kWorkers};
  ExportRegistry<BlockCache> caches_;
};

ParameterTable CacheFilter::parameters() {
  return ParameterTable({
      choice_parameter("cache", settings_.mode,
                       {{"writeback", CacheMode::writeback},
                        {"writethrough", CacheMode::writethrough},
                        {"unsafe", CacheMode::unsafe}},
                       "When writes reach the plugin."),
      size_parameter("cache-min-block-size", min_block_size_,
                     {.minimum = 4096, .maximum = 1U << 30U, .power_of_two = true}, "64K",
                     "Set the minimum block size used by the cache."),
      size_parameter("cache-max-size", settings_.max_size_bytes, {.minimum = 1}, "unlimited",
                     "Set maximum space used by cache."),
      number_parameter("cache-high-threshold", settings_.high_threshold_percent, 1, 100,
                       "Percentage of max size where reclaim begins."),
      number_parameter("cache-low-threshold", settings_.low_threshold_percent, 1, 99,
                       "Percentage of max size where reclaim ends."),
      cache_on_read_parameter(),
  });
}

Parameter CacheFilter::cache_on_read_parameter() {
  auto set = [this](const std::string& value) {
    if (!value.empty() && value.front() == '/') {
      on_read_ = OnRead::while_path_exists;
      on_read_path_ = value;
    } else {
      on_read_ = parse_bool("cache-on-read", value) ? OnRead::yes : OnRead::no;
    }
  };
  return {.name = "cache-on-read",
          .value = "true|false|/PATH",
          .help = "Cache what is read, always, never, or while /PATH exists.",
          .range_text = "",
          .default_text = "false",
          .set = std::move(set)};
}

void CacheFilter::config_complete() {
  if (settings_.low_threshold_percent >= settings_.high_threshold_percent) {
    throw Error(EINVAL, "cache-low-threshold must be less than cache-high-threshold");
  }
  settings_.cache_on_read = [this] {
    if (on_read_ == OnRead::while_path_exists) return ::access(on_read_path_.c_str(), F_OK) == 0;
    return on_read_ == OnRead::yes;
  };
  const char* directory = std::getenv("TMPDIR");
  settings_.directory = absolute_path("TMPDIR", directory == nullptr ? "/var/tmp" : directory);
  settings_.verbose = cache_debug_verbose != 0;
}

// The cache's blocks are at least those of the file system that they are stored in. Whether that
// can be used at all is found out now, while there is somebody to be told.
void CacheFilter::get_ready() {
  log::debug("cache: temporary directory for cache: {}", settings_.directory);
  struct statvfs status {};
  if (::statvfs(settings_.directory.c_str(), &status) == -1) {
    throw system_error(errno, "TMPDIR: {}", settings_.directory);
  }
  const std::uint64_t block_size =
      std::bit_ceil(std::max<std::uint64_t>(min_block_size_, status.f_bsize));
  settings_.block_size = static_cast<std::uint32_t>(block_size);
  log::debug("cache: block size: {}", block_size);
  if (settings_.max_size_bytes != 0 && settings_.max_size_bytes < block_size) {
    throw Error(EINVAL, fmt::format("cache-max-size is too small: it must be at least one block "
                                    "of {}",
                                    format_size(block_size)));
  }
  const SlotFile probe(settings_.directory, settings_.block_size);
}

std::unique_ptr<Layer> CacheFilter::open(Layer& below, const OpenRequest& request) {
  const std::uint64_t size = below.traits().size_bytes;
  log::debug("cache: underlying file size: {}", size);
  const auto cache = caches_.find_or_make(
      request.export_name, [&] { return std::make_shared<BlockCache>(settings_, size, pool_); });
  if (cache->geometry().size_bytes() != size) {
    throw Error(EINVAL, fmt::format("cache: export '{}' was {} bytes long when it was first opened "
                                    "and is {} now; restart the server to serve the new size",
                                    request.export_name, cache->geometry().size_bytes(), size));
  }
  return std::make_unique<CacheLayer>(below, cache, settings_);
}

// Clients are gone, or cut off by a signal. What they left dirty goes down now or is lost with this
// process.
void CacheFilter::cleanup(Backend& backend) {
  for (const auto& [name, cache] : caches_.all()) {
    if (cache->unwritten_bytes() == 0) continue;
    try {
      const std::unique_ptr<Layer> below = backend.open(name);
      cache->write_back_all(*below);
      if (below->traits().can_flush) below->flush();
    } catch (const Error& error) {
      log::error(
          "cache: export '{}': {} bytes that were never flushed could not be written back "
          "and are LOST: {}",
          name, cache->unwritten_bytes(),
          error.is_reported() ? "see the message above" : error.what());
    }
  }
}

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::CacheFilter)
