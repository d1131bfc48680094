#include "common/command/progress.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace nbdstack {
namespace {

constexpr std::chrono::milliseconds kOnTerminal{200};
constexpr std::chrono::seconds kInLog{10};
constexpr const char* kWipe = "\r\x1b[K";

}  // namespace

Progress::Progress(ProgressStyle style, Clock& clock, Print print)
    : style_(style), clock_(clock), print_(std::move(print)), begun_at_(clock.now()) {}

bool Progress::is_due() const {
  if (style_ == ProgressStyle::none) return false;
  const Duration pause = style_ == ProgressStyle::terminal ? Duration(kOnTerminal) : kInLog;
  return clock_.now() - shown_at_.value_or(begun_at_) >= pause;
}

void Progress::show(const std::string& line) {
  if (!is_due()) return;
  shown_at_ = clock_.now();
  on_screen_ = style_ == ProgressStyle::terminal;
  print_(on_screen_ ? kWipe + line : line + "\n");
}

void Progress::clear() {
  if (std::exchange(on_screen_, false)) print_(kWipe);
}

ProgressStyle style_on_stderr(bool asked_for) {
  if (::isatty(STDERR_FILENO) == 1) return ProgressStyle::terminal;
  return asked_for ? ProgressStyle::lines : ProgressStyle::none;
}

void print_on_stderr(const std::string& text) {
  fmt::print(stderr, "{}", text);
  std::fflush(stderr);
}

}  // namespace nbdstack
