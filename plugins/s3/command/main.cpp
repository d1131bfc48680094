// nbdstack-s3: volumes of the s3 plugin from the command line. See man/nbdstack-s3.pod.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "common/log.hpp"
#include "plugins/s3/command/command_line.hpp"
#include "plugins/s3/command/verbs.hpp"

namespace {

using nbdstack::CommandLine;
using nbdstack::Verb;

void print_error(const char* message) {
  fmt::print(stderr, "nbdstack-s3: error: {}\n", message);
}
void print_debug(const char* message) {
  fmt::print(stderr, "nbdstack-s3: debug: {}\n", message);
}
void discard(const char* /*message*/) {}

int run(const std::vector<std::string>& words) {
  const CommandLine command(words);
  if (command.verb() == Verb::help) {
    fmt::print("{}", CommandLine::help());
    return 0;
  }
  if (command.verb() == Verb::version) {
    fmt::print("nbdstack-s3 {}\n", NBDSTACK_VERSION);
    return 0;
  }
  if (command.verbose()) nbdstack::log::set_sink({print_error, print_debug});
  return nbdstack::run_verb(command);
}

}  // namespace

int main(int argc, char** argv) {
  nbdstack::log::set_sink({print_error, discard});
  // A connection that the service closes is an error to report, and must not end the process.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return 1;
  try {
    return run({argv + 1, argv + argc});
  } catch (const nbdstack::UsageError& error) {
    print_error(error.what());
    return 2;
  } catch (const std::exception& error) {
    print_error(error.what());
    return 1;
  }
}
