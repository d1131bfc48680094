#include "tools/top/latency.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <string_view>

namespace nbdstack {
namespace {

constexpr double kPercentile = 0.99;

struct Measured {
  std::map<double, double> up_to;  // how many were no longer than the bound
  double sum_seconds = 0;
  double count = 0;
};

Measured measured(const LayerSnapshot& layer, const std::string& op) {
  Measured all;
  const Family* const family = layer.find(metric::kRequestSeconds);
  if (family == nullptr) return all;
  for (const Series& series : family->series) {
    if (series.label("op") != op) continue;
    const std::string_view part = std::string_view(series.name).substr(family->name.size());
    if (part == "_sum") {
      all.sum_seconds += series.value;
    } else if (part == "_count") {
      all.count += series.value;
    } else {
      const std::string bound(series.label("le"));
      all.up_to[bound == "+Inf" ? std::numeric_limits<double>::infinity()
                                : std::strtod(bound.c_str(), nullptr)] += series.value;
    }
  }
  return all;
}

}  // namespace

std::optional<Latency> latency_of(const LayerStates& layer, const std::string& op) {
  if (!layer.before) return std::nullopt;
  const Measured now = measured(layer.now, op);
  const Measured before = measured(*layer.before, op);
  const double count = now.count - before.count;
  if (count <= 0) return std::nullopt;
  Latency latency{.mean_seconds = (now.sum_seconds - before.sum_seconds) / count};
  const double rank = kPercentile * count;
  double last_bound = 0;
  double last_count = 0;
  for (const auto& [bound, up_to] : now.up_to) {
    const auto earlier = before.up_to.find(bound);
    const double in_time = up_to - (earlier == before.up_to.end() ? 0 : earlier->second);
    if (in_time >= rank) {
      const double share = in_time > last_count ? (rank - last_count) / (in_time - last_count) : 0;
      latency.p99_seconds =
          std::isinf(bound) ? last_bound : last_bound + share * (bound - last_bound);
      return latency;
    }
    last_bound = bound;
    last_count = in_time;
  }
  return latency;
}

}  // namespace nbdstack
