// How far a command has come, in one line that is shown from time to time.
//
//   style     shown as                                     at most every
//   none      nothing
//   terminal  one line that is overwritten, and wiped by   200 ms
//             clear()
//   lines     a line of its own: for a log                 10 s
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/sync/clock.hpp"

namespace nbdstack {

enum class ProgressStyle : std::uint8_t { none, terminal, lines };

class Progress {
 public:
  using Print = std::function<void(const std::string& text)>;

  // `clock` outlives this.
  Progress(ProgressStyle style, Clock& clock, Print print);

  // Is it time for another line? Spares the making of one that is not shown.
  [[nodiscard]] bool is_due() const;

  // Shows it if it is time to.
  void show(const std::string& line);

  // Before anything else is printed.
  void clear();

 private:
  const ProgressStyle style_;
  Clock& clock_;
  const Print print_;
  std::optional<TimePoint> shown_at_;  // nothing: only now begun, or cleared
  const TimePoint begun_at_;
  bool on_screen_ = false;
};

// How it is shown on standard error: on a terminal always, elsewhere where it was asked for.
ProgressStyle style_on_stderr(bool asked_for);
void print_on_stderr(const std::string& text);

// "1.5 GiB", for people.
std::string approximate_size(std::uint64_t size_bytes);

}  // namespace nbdstack
