// Shows the progress of a command, in one line that is shown anew from time to time.
//
//   style     shown as                                     at most every
//   none      nothing
//   terminal  one line that is overwritten, and wiped by   200 ms
//             clear()
//   lines     a line of its own: for a log                 10 s
//
// Used by one thread at a time.
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

  // Returns whether it is time for another line, so that none is made in vain.
  [[nodiscard]] bool is_due() const;

  // Shows the line if is_due().
  void show(const std::string& line);

  // Called before anything else is printed.
  void clear();

 private:
  const ProgressStyle style_;
  Clock& clock_;
  const Print print_;
  std::optional<TimePoint> shown_at_;  // empty at the beginning and after clear()
  const TimePoint begun_at_;
  bool on_screen_ = false;
};

// Returns the style for standard error: progress is shown on a terminal always, elsewhere only if
// the user asked for it.
ProgressStyle style_on_stderr(bool asked_for);
void print_on_stderr(const std::string& text);

}  // namespace nbdstack
