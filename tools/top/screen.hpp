// A screenful of nbdstack-top: all stacks, the busiest first.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "tools/cost/prices.hpp"
#include "tools/top/rate_window.hpp"

namespace nbdstack {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

// Returns the lines of all stacks behind a head, without a bound for their number.
std::vector<std::string> screen_lines(const RateWindow& window, const Prices& prices,
                                      std::size_t columns,
                                      std::chrono::system_clock::time_point now);

// Returns the bytes that redraw a terminal without flicker: each line overwrites the one before and
// wipes only the rest of it, and all is one write. The last row counts the lines that do not fit.
std::string redraw(std::vector<std::string> lines, const ScreenSize& size);

}  // namespace nbdstack
