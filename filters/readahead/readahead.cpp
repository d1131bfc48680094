// nbdkit-readahead-filter: prefetches the next reads of streams (man/nbdkit-readahead-filter.pod;
// planner.hpp describes how).
#include <atomic>
#include <memory>
#include <string>

#include "common/block/disk_registry.hpp"
#include "common/error.hpp"
#include "common/log.hpp"
#include "common/metrics/metric.hpp"
#include "common/nbdkit/filter.hpp"
#include "common/nbdkit/server_stop.hpp"
#include "filters/readahead/readahead_layer.hpp"

// Set by nbdkit for -D readahead.verbose=1, before the filter is configured.
extern "C" __attribute__((visibility("default"))) int readahead_debug_verbose;
int readahead_debug_verbose = 0;

namespace nbdstack {
namespace {

constexpr std::size_t kThreads = 32;

class ReadaheadFilter final : public Filter {
 public:
  [[nodiscard]] FilterInfo info() const override {
    return {"readahead", "nbdstack readahead filter",
            "fetch into the cache below what streams of reads will want next"};
  }

  ParameterTable parameters() override {
    const SizeRange window{.minimum = 4096, .maximum = 1U << 30U};
    return ParameterTable({
        number_parameter("readahead-streams", options_.streams, 1, kStreams_max,
                         "streams that are followed at once on each disk"),
        size_parameter("readahead-min", options_.first_window_bytes, window, "128K",
                       "bytes that a new stream is ahead"),
        size_parameter("readahead-max", options_.largest_window_bytes, window, "32M",
                       "bytes that a stream is ahead at most"),
        size_parameter("readahead-inflight", options_.most_bytes_in_flight, window, "64M",
                       "bytes that are being fetched ahead at once"),
    });
  }

  void config_complete() override {
    if (options_.first_window_bytes > options_.largest_window_bytes) {
      throw Error(EINVAL,
                  "readahead-min must not be greater than readahead-max: a window grows "
                  "from the one to the other");
    }
  }

  void get_ready() override {
    options_.verbose = readahead_debug_verbose != 0;
    threads_ = std::make_unique<PrefetchThreads>(kThreads, options_.most_bytes_in_flight);
  }

  std::unique_ptr<Layer> open(Layer& below, const OpenRequest& request) override {
    if (below.traits().cache != Support::native) {
      say_that_nothing_caches();
      return std::make_unique<ReadaheadLayer>(below, nullptr);
    }
    auto shared = disks_.find_or_make(request, ShownDisk::of(below), [&] {
      ReadaheadOptions options = options_;
      const Metrics metrics = metrics_of_export(request.export_name);
      options.counters = {.sent_bytes = metrics.counter(metric::kReadaheadSentBytes),
                          .used_bytes = metrics.counter(metric::kReadaheadUsedBytes)};
      return std::make_shared<ReadaheadExport>(options, below.traits(), *threads_);
    });
    return std::make_unique<ReadaheadLayer>(below, std::move(shared));
  }

  void after_fork(Backend& /*backend*/) override {
    stop_ = std::make_unique<ServerStop>();
    options_.server_stops = [this] { return stop_->has_begun(); };
  }

  void cleanup(Backend& /*backend*/) override { threads_->stop(); }

 private:
  static constexpr unsigned kStreams_max = 1000;

  // For a plugin that cannot cache nbdkit emulates that, but reads and discards the data.
  void say_that_nothing_caches() {
    if (said_.exchange(true)) return;
    log::error(
        "readahead: the layer below has no cache to fetch anything into, so this filter "
        "does nothing: put one there, as in --filter=readahead --filter=cache");
  }

  ReadaheadOptions options_;
  std::atomic<bool> said_ = false;
  std::unique_ptr<ServerStop> stop_;          // from after_fork on; before its users
  std::unique_ptr<PrefetchThreads> threads_;  // from get_ready on; before the exports that use them
  // Streams that are followed twice, or of two disks, cost only requests.
  const ExportRule exports_ = ExportRule::each;
  DiskRegistry<ReadaheadExport> disks_{{.filter = "readahead", .refuses = false}, exports_};
};

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_FILTER(nbdstack::ReadaheadFilter)
