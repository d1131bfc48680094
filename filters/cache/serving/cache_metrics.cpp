#include "filters/cache/serving/cache_metrics.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "common/metrics/metric.hpp"

namespace nbdstack {
namespace {

using std::chrono::duration;
using std::chrono::steady_clock;
using std::chrono::system_clock;

std::optional<double> number(std::uint64_t count) {
  return static_cast<double>(count);
}

// The engine's time is that of a clock that nobody sets; Prometheus' is the time of day.
std::optional<double> time_of_day(const std::optional<TimePoint>& time) {
  if (!time) return std::nullopt;
  const auto now = system_clock::now().time_since_epoch();
  return duration<double>(now - (steady_clock::now() - *time)).count();
}

}  // namespace

std::vector<MetricsRegistry::Sampled> cache_metrics(const Metrics& metrics,
                                                    const std::weak_ptr<BlockCache>& cache) {
  std::vector<MetricsRegistry::Sampled> series;
  if (!metrics.is_on()) return series;
  using Value = std::function<std::optional<double>(const CacheFigures&)>;
  const auto show = [&](const Metric& metric, Value value) {
    series.push_back(
        metrics.sampled(metric, [cache, value = std::move(value)]() -> std::optional<double> {
          const auto engine = cache.lock();
          if (engine == nullptr) return std::nullopt;
          return value(engine->figures(steady_clock::now()));
        }));
  };
  show(metric::kCacheHits, [](const auto& figures) { return number(figures.reads.hits); });
  show(metric::kCacheMisses, [](const auto& figures) { return number(figures.reads.misses); });
  show(metric::kCacheEvictions, [](const auto& figures) { return number(figures.evictions); });
  show(metric::kCacheBytes, [](const auto& figures) { return number(figures.cached_bytes); });
  show(metric::kCacheDirtyBytes,
       [](const auto& figures) { return number(figures.unwritten_bytes); });
  show(metric::kCacheOldestDirty,
       [](const auto& figures) { return time_of_day(figures.oldest_dirty); });
  show(metric::kCacheLimitBytes, [](const auto& figures) {
    return figures.limit_bytes == 0 ? std::nullopt : number(figures.limit_bytes);
  });
  return series;
}

}  // namespace nbdstack
