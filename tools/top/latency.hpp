// Latencies of an interval, from two states of a histogram.
#pragma once

#include <optional>
#include <string>

#include "tools/top/rate_window.hpp"

namespace nbdstack {

struct Latency {
  double mean_seconds = 0;
  double p99_seconds = 0;
};

// Returns nothing if nothing was measured between the states. The percentile lies within its bucket
// in proportion, as histogram_quantile() of Prometheus has it; behind the last bound it is that
// bound.
std::optional<Latency> latency_of(const LayerStates& layer, const std::string& op);

}  // namespace nbdstack
