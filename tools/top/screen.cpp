#include "tools/top/screen.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "tools/top/stack_view.hpp"

namespace nbdstack {
namespace {

// ECMA-48, which every terminal knows.
constexpr const char* kHome = "\033[H";
constexpr const char* kWipeRestOfLine = "\033[K";
constexpr const char* kWipeRestOfScreen = "\033[J";

std::string head(const std::vector<StackFigures>& stacks,
                 std::chrono::system_clock::time_point now) {
  const std::time_t time = std::chrono::system_clock::to_time_t(now);
  std::tm local{};
  ::localtime_r(&time, &local);
  const auto killed = std::count_if(stacks.begin(), stacks.end(),
                                    [](const StackFigures& stack) { return !stack.is_running; });
  std::string text = fmt::format("nbdstack-top  {:%H:%M:%S}  {} stack{}", local, stacks.size(),
                                 stacks.size() == 1 ? "" : "s");
  if (killed > 0) text += fmt::format(", {} killed", killed);
  return text;
}

}  // namespace

std::vector<std::string> screen_lines(const RateWindow& window, const Prices& prices,
                                      std::size_t columns,
                                      std::chrono::system_clock::time_point now) {
  std::vector<StackFigures> stacks;
  for (const auto& [name, layers] : window.stacks()) {
    stacks.push_back(figures_of(name, layers, prices, now));
  }
  // Equal ones stay in the order of their names.
  std::stable_sort(stacks.begin(), stacks.end(), [](const StackFigures& a, const StackFigures& b) {
    return a.bytes_per_second() > b.bytes_per_second();
  });
  std::vector<std::string> lines{head(stacks, now)};
  for (const StackFigures& stack : stacks) {
    lines.emplace_back();
    for (std::string& line : lines_of(stack, columns)) lines.push_back(std::move(line));
  }
  return lines;
}

std::string redraw(std::vector<std::string> lines, const ScreenSize& size) {
  if (lines.size() > size.rows) {
    const std::size_t hidden = lines.size() - size.rows + 1;
    lines.resize(size.rows - 1);
    lines.push_back(fmt::format("... and {} more lines", hidden));
  }
  std::string text = kHome;
  for (std::size_t row = 0; row < lines.size(); ++row) {
    text += row == 0 ? "" : "\n";
    text += lines[row].substr(0, size.columns);
    text += kWipeRestOfLine;
  }
  return text + kWipeRestOfScreen;
}

}  // namespace nbdstack
