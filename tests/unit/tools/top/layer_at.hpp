// A layer as its file of some moment shows it.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "common/metrics/registry.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {

inline LayerSnapshot layer_of(MetricsRegistry& registry, const std::string& layer,
                              std::chrono::milliseconds at) {
  return {"vm1",
          layer,
          true,
          true,
          parse_exposition(registry.text()).value(),
          std::chrono::system_clock::time_point(at)};
}

// Requests by op.
inline LayerSnapshot layer_at(std::chrono::milliseconds at,
                              const std::map<std::string, std::uint64_t>& requests) {
  MetricsRegistry registry("vm1", "cache");
  for (const auto& [op, count] : requests) {
    registry.counter(metric::kRequests, {{"op", op}}).add(count);
  }
  return layer_of(registry, "cache", at);
}

}  // namespace nbdstack
