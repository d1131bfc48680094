// The terminal of a program that redraws it: its alternate screen, keys as they are pressed, and
// its state before given back however the program ends but by SIGKILL.
//
// Plain ANSI sequences rather than ncurses: what is shown are lines from the top, six sequences do
// that, and the commands of nbdstack need no library for terminals.
#pragma once

#include <signal.h>
#include <termios.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/io/file.hpp"
#include "tools/top/screen.hpp"

namespace nbdstack {

class Terminal {
 public:
  enum class Event : std::uint8_t { timeout, resized, quit };

  // Standard output is a terminal. Throws Error.
  Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  [[nodiscard]] static ScreenSize size();
  void show(const std::string& text) const;
  // Waits for q, Ctrl-C, a signal that ends the program, or another size of the window.
  [[nodiscard]] Event wait_for(std::chrono::milliseconds duration);

 private:
  [[nodiscard]] Event event_of_signal() const;
  [[nodiscard]] Event event_of_key();

  sigset_t signals_{};
  File signal_descriptor_;
  std::optional<termios> before_;  // nothing if standard input is no terminal
  bool has_input_ = false;
};

}  // namespace nbdstack
