// One stack in nbdstack-top: its numbers, and the lines that show them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/cost/cost.hpp"
#include "tools/top/latency.hpp"
#include "tools/top/rate_window.hpp"

namespace nbdstack {

struct RequestRates {
  double per_second = 0;
  double bytes_per_second = 0;
  std::optional<Latency> latency;
};

struct CacheFigures {
  std::optional<double> hit_ratio;  // nothing if there were no reads
  double bytes = 0;
  std::optional<double> limit_bytes;
  double dirty_bytes = 0;
  std::optional<double> oldest_dirty_seconds;
  double fetched_per_second = 0;  // bytes
  double written_back_per_second = 0;
};

struct ServiceFigures {
  double puts_per_second = 0;
  double gets_per_second = 0;
  double removals_per_second = 0;
  double retries_per_second = 0;
  Cost cost;                              // so far
  std::optional<double> dollars_a_month;  // at this rate
};

// A member is nothing if it is not known yet, or there is no such layer.
struct StackFigures {
  std::string name;
  std::vector<std::string> layers;      // from the one that clients see to the lowest
  std::vector<std::string> unreadable;  // the layers whose files are not theirs
  bool is_running = false;
  std::optional<RequestRates> reads;  // of clients
  std::optional<RequestRates> writes;
  std::optional<CacheFigures> cache;
  std::optional<ServiceFigures> service;

  [[nodiscard]] double bytes_per_second() const;
};

StackFigures figures_of(const std::string& stack, const std::vector<LayerStates>& layers,
                        const Prices& prices, std::chrono::system_clock::time_point now);

// The lines have no end, and are no longer than `width`, which is 60 at least.
std::vector<std::string> lines_of(const StackFigures& stack, std::size_t width);

}  // namespace nbdstack
