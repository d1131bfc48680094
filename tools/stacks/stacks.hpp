// All stacks of this machine that have metrics, as their layers wrote them last.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "common/metrics/metric.hpp"
#include "tools/stacks/exposition.hpp"

namespace nbdstack {

struct LayerSnapshot {
  std::string stack;
  std::string layer;
  bool is_running = false;   // if not, its server was killed, and `families` are of the past
  bool is_readable = false;  // if not, a layer does not write such a file, and `families` is empty
  std::vector<Family> families;
  std::chrono::system_clock::time_point written_at{};

  // Returns null if the layer does not have the metric.
  [[nodiscard]] const Family* find(const Metric& metric) const {
    return find_family(families, metric.name);
  }
};

// Returns the places whose stacks are read if the user names none: that of root, and the user's
// own.
std::vector<std::string> default_places();

// Returns the layers in these directories, sorted by stack and layer. A stack that is in several is
// that of the first. Throws Error if a directory cannot be read; one that does not exist is empty.
std::vector<LayerSnapshot> read_stacks(const std::vector<std::string>& places);

}  // namespace nbdstack
