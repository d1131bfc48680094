// nbdstack-top: what all stacks of this machine do, live. See man/nbdstack-top.pod.
#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "common/command/print.hpp"
#include "common/error.hpp"
#include "tools/stacks/stacks.hpp"
#include "tools/top/rate_window.hpp"
#include "tools/top/screen.hpp"
#include "tools/top/terminal.hpp"
#include "tools/top/top_options.hpp"

namespace nbdstack {
namespace {

using Action = TopOptions::Action;

// Lines that are longer than this are none of ours.
constexpr std::size_t kColumnsOfText = 1000;

std::vector<std::string> lines_now(const RateWindow& window, const TopOptions& options,
                                   std::size_t columns) {
  return screen_lines(window, options.prices, columns, std::chrono::system_clock::now());
}

// Rates need two states, so nothing is printed before the first interval is over.
int show_text(const TopOptions& options) {
  RateWindow window;
  window.take(read_stacks(options.places));
  for (unsigned shown = 0; !options.count || shown < *options.count; ++shown) {
    std::this_thread::sleep_for(options.interval);
    window.take(read_stacks(options.places));
    std::string text = shown == 0 ? "" : "\n";
    for (const std::string& line : lines_now(window, options, kColumnsOfText)) text += line + "\n";
    print(text);
  }
  return 0;
}

// The first screen is there at once, without rates.
int show_live(const TopOptions& options) {
  RateWindow window;
  Terminal terminal;
  for (unsigned shown = 0; !options.count || shown < *options.count; ++shown) {
    window.take(read_stacks(options.places));
    auto event = Terminal::Event::resized;
    while (event == Terminal::Event::resized) {
      const ScreenSize size = Terminal::size();
      terminal.show(redraw(lines_now(window, options, size.columns), size));
      event = terminal.wait_for(options.interval);
    }
    if (event == Terminal::Event::quit) return 0;
  }
  return 0;
}

int run(int argc, char** argv) {
  const TopOptions options = parse_top_options(argc, argv);
  switch (options.action) {
    case Action::help:
      print(top_help());
      return 0;
    case Action::version:
      print("nbdstack-top " NBDSTACK_VERSION "\n");
      return 0;
    case Action::show:
      break;
  }
  const bool is_live = ::isatty(STDOUT_FILENO) == 1 && options.count != 1U;
  return is_live ? show_live(options) : show_text(options);
}

void say(const char* message) {
  fmt::print(stderr, "nbdstack-top: error: {}\n", message);
}

}  // namespace
}  // namespace nbdstack

int main(int argc, char** argv) {
  try {
    return nbdstack::run(argc, argv);
  } catch (const nbdstack::UsageError& error) {
    nbdstack::say(error.what());
    return 2;
  } catch (const std::exception& error) {
    nbdstack::say(error.what());
    return 1;
  }
}
