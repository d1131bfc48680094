#include "tools/top/stack_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/approximate_size.hpp"

namespace nbdstack {
namespace {

double or_zero(const std::optional<double>& value) {
  return value.value_or(0);
}

std::optional<RequestRates> requests_of(const LayerStates& layer, const std::string& op) {
  const auto requests = layer.rate(metric::kRequests, {"op", op});
  if (!requests) return std::nullopt;
  return RequestRates{.per_second = *requests,
                      .bytes_per_second = or_zero(layer.rate(metric::kRequestBytes, {"op", op})),
                      .latency = latency_of(layer, op)};
}

std::optional<double> oldest_of(const LayerStates& layer) {
  const Family* const family = layer.now.find(metric::kCacheOldestDirty);
  if (family == nullptr || family->series.empty()) return std::nullopt;
  const auto oldest =
      std::min_element(family->series.begin(), family->series.end(),
                       [](const Series& a, const Series& b) { return a.value < b.value; });
  return oldest->value;
}

std::optional<CacheFigures> cache_of(const LayerStates& layer,
                                     std::chrono::system_clock::time_point now) {
  const auto bytes = layer.value(metric::kCacheBytes);
  if (!bytes) return std::nullopt;
  CacheFigures cache{.bytes = *bytes};
  const double hits = or_zero(layer.rate(metric::kCacheHits));
  const double reads = hits + or_zero(layer.rate(metric::kCacheMisses));
  if (reads > 0) cache.hit_ratio = hits / reads;
  cache.limit_bytes = layer.value(metric::kCacheLimitBytes);
  cache.dirty_bytes = or_zero(layer.value(metric::kCacheDirtyBytes));
  if (const auto oldest = oldest_of(layer)) {
    const double now_seconds = std::chrono::duration<double>(now.time_since_epoch()).count();
    cache.oldest_dirty_seconds = std::max(now_seconds - *oldest, 0.0);
  }
  cache.fetched_per_second = or_zero(layer.rate(metric::kBelowBytes, {"op", "read"}));
  cache.written_back_per_second = or_zero(layer.rate(metric::kBelowBytes, {"op", "write"}));
  return cache;
}

std::optional<ServiceFigures> service_of(const std::string& stack, const LayerStates& layer,
                                         const Prices& prices) {
  if (!layer.value(metric::kS3Requests)) return std::nullopt;
  const Usage usage = usage_of({layer.now}, stack);
  ServiceFigures service{.cost = cost_of(usage, prices)};
  const double seconds = layer.seconds();
  if (seconds <= 0) return service;
  const Usage grown = usage - usage_of({*layer.before}, stack);
  service.puts_per_second = grown.put_requests / seconds;
  service.gets_per_second = grown.get_requests / seconds;
  service.removals_per_second = grown.free_requests / seconds;
  service.retries_per_second = or_zero(layer.rate(metric::kS3Retries));
  service.dollars_a_month = cost_of(grown, prices).total() / seconds * kSecondsOfMonth;
  return service;
}

// --- Texts ---

std::string in_size(double bytes) {
  return approximate_size(static_cast<std::uint64_t>(std::max(bytes, 0.0)));
}

std::string in_time(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.0f} h", seconds / 3600);
}

std::string in_dollars(double dollars) {
  return dollars < 1 ? fmt::format("${:.4f}", dollars) : fmt::format("${:.2f}", dollars);
}

std::string in_rate(double per_second) {
  return per_second < 10 ? fmt::format("{:.1f}/s", per_second)
                         : fmt::format("{:.0f}/s", per_second);
}

std::string line_of(const char* name, const std::optional<RequestRates>& requests) {
  if (!requests) return fmt::format("  {:<7} -", name);
  std::string line = fmt::format("  {:<7}{:>9}{:>12}/s", name, in_rate(requests->per_second),
                                 in_size(requests->bytes_per_second));
  if (requests->latency) {
    line += fmt::format("  mean{:>8}  p99{:>8}", in_time(requests->latency->mean_seconds),
                        in_time(requests->latency->p99_seconds));
  }
  return line;
}

void add_cache(std::vector<std::string>& lines, const CacheFigures& cache) {
  std::string line = fmt::format("  {:<7} ", "cache");
  if (cache.hit_ratio) line += fmt::format("hits {:.1f} %, ", *cache.hit_ratio * 100);
  line += in_size(cache.bytes);
  if (cache.limit_bytes) line += " of " + in_size(*cache.limit_bytes);
  lines.push_back(line);
  line = fmt::format("  {:<7} {}", "dirty", in_size(cache.dirty_bytes));
  if (cache.oldest_dirty_seconds) {
    line += fmt::format(", the oldest for {}", in_time(*cache.oldest_dirty_seconds));
  }
  lines.push_back(line);
  lines.push_back(fmt::format("  {:<7} {}/s read, {}/s written", "below",
                              in_size(cache.fetched_per_second),
                              in_size(cache.written_back_per_second)));
}

void add_service(std::vector<std::string>& lines, const ServiceFigures& service) {
  lines.push_back(fmt::format("  {:<7} put {}, get {}, free {}, retry {}", "s3",
                              in_rate(service.puts_per_second), in_rate(service.gets_per_second),
                              in_rate(service.removals_per_second),
                              in_rate(service.retries_per_second)));
  std::string line = fmt::format("  {:<7} {} so far", "cost", in_dollars(service.cost.total()));
  if (service.dollars_a_month) {
    line += fmt::format(", {} a month at this rate", in_dollars(*service.dollars_a_month));
  }
  lines.push_back(line);
}

}  // namespace

double StackFigures::bytes_per_second() const {
  return (reads ? reads->bytes_per_second : 0) + (writes ? writes->bytes_per_second : 0);
}

StackFigures figures_of(const std::string& stack, const std::vector<LayerStates>& layers,
                        const Prices& prices, std::chrono::system_clock::time_point now) {
  StackFigures figures{.name = stack};
  std::vector<const LayerStates*> ordered;
  for (const LayerStates& layer : layers) {
    ordered.push_back(&layer);
    figures.is_running = figures.is_running || layer.now.is_running;
    if (!layer.now.is_readable) figures.unreadable.push_back(layer.now.layer);
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return or_zero(a->value(metric::kLayersBelow)) > or_zero(b->value(metric::kLayersBelow));
  });
  for (const LayerStates* const layer : ordered) {
    figures.layers.push_back(layer->now.layer);
    if (!figures.cache) figures.cache = cache_of(*layer, now);
    if (!figures.service) figures.service = service_of(stack, *layer, prices);
  }
  if (!ordered.empty()) {
    figures.reads = requests_of(*ordered.front(), "read");
    figures.writes = requests_of(*ordered.front(), "write");
  }
  return figures;
}

std::vector<std::string> lines_of(const StackFigures& stack, std::size_t width) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{} ({})", stack.name, fmt::join(stack.layers, ", ")));
  if (!stack.unreadable.empty()) {
    lines.push_back(fmt::format("  unreadable: {}", fmt::join(stack.unreadable, ", ")));
  }
  if (stack.is_running) {
    lines.push_back(line_of("reads", stack.reads));
    lines.push_back(line_of("writes", stack.writes));
    if (stack.cache) add_cache(lines, *stack.cache);
    if (stack.service) add_service(lines, *stack.service);
  } else {
    lines.emplace_back("  its server was killed");
  }
  for (std::string& line : lines) {
    if (line.size() > width) line.resize(width);
  }
  return lines;
}

}  // namespace nbdstack
