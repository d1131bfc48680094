// nbdstack-metrics: the metrics of all stacks for Prometheus. See man/nbdstack-metrics.pod.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>

#include "common/command/print.hpp"
#include "common/error.hpp"
#include "common/fault/fault.hpp"
#include "common/io/file.hpp"
#include "common/io/service_manager.hpp"
#include "common/log.hpp"
#include "tools/metrics/listen_socket.hpp"
#include "tools/metrics/merged_text.hpp"
#include "tools/metrics/metrics_options.hpp"
#include "tools/metrics/metrics_server.hpp"

namespace nbdstack {
namespace {

using Action = MetricsOptions::Action;

void say(const std::string& message) {
  fmt::print(stderr, "nbdstack-metrics: {}\n", message);
}

std::string text_now(const MetricsOptions& options) {
  return merged_text(read_stacks(options.places), options.prices);
}

// SIGINT and SIGTERM wait until the main thread asks for them: also those of other threads, which
// inherit that.
class EndSignals {
 public:
  EndSignals() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGINT);
    ::sigaddset(&signals_, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  void wait() const {
    int signal = 0;
    while (::sigwait(&signals_, &signal) != 0) {
    }
  }
  // Returns whether one came.
  [[nodiscard]] bool wait_for(std::chrono::seconds duration) const {
    const timespec limit{.tv_sec = duration.count(), .tv_nsec = 0};
    int signal = 0;
    while ((signal = ::sigtimedwait(&signals_, nullptr, &limit)) == -1 && errno == EINTR) {
    }
    return signal != -1;
  }

 private:
  sigset_t signals_{};
};

int serve(const MetricsOptions& options, const ListenSocket& socket) {
  const EndSignals signals;
  const MetricsServer server(socket, [&options] { return text_now(options); });
  say("listening on " + socket.place());
  tell_service_manager("READY=1");
  signals.wait();
  return 0;
}

// A collector that reads the directory takes names that end with .prom: it must not see a part of
// the text.
void replace_file(const std::string& path, const std::string& text) {
  const std::filesystem::path target(path);
  const std::string new_path =
      (target.parent_path() / ("." + target.filename().string() + ".new")).string();
  {
    const File file = File::open(new_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    file.write_at(std::as_bytes(std::span(text)), 0);
  }
  if (std::rename(new_path.c_str(), path.c_str()) != 0) {
    throw system_error(errno, "rename {} to {}", new_path, path);
  }
}

// The first failure ends the command, because it is one of the command line.
int write_file(const MetricsOptions& options) {
  const EndSignals signals;
  replace_file(options.file, text_now(options));
  tell_service_manager("READY=1");
  Fault fault{"writes of the file"};
  while (!signals.wait_for(options.interval)) {
    try {
      replace_file(options.file, text_now(options));
      fault.succeeded();
    } catch (const std::exception& error) {
      fault.failed_with(error.what());
    }
  }
  ::unlink(options.file.c_str());  // what nobody replaces any more is not left for a collector
  return 0;
}

int run(int argc, char** argv) {
  const MetricsOptions options = parse_metrics_options(argc, argv);
  switch (options.action) {
    case Action::help:
      print(metrics_help());
      return 0;
    case Action::version:
      print("nbdstack-metrics " NBDSTACK_VERSION "\n");
      return 0;
    case Action::listen:
      return serve(options, ListenSocket::open(options.listen));
    case Action::write_file:
      return write_file(options);
    case Action::print:
      break;
  }
  if (const auto socket = ListenSocket::inherited()) return serve(options, *socket);
  print(text_now(options));
  return 0;
}

}  // namespace
}  // namespace nbdstack

int main(int argc, char** argv) {
  nbdstack::log::set_sink(
      {.error = [](const char* message) { nbdstack::say(message); }, .debug = [](const char*) {}});
  // A client that hangs up is not the end of the process.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return 1;
  try {
    return nbdstack::run(argc, argv);
  } catch (const nbdstack::UsageError& error) {
    nbdstack::say(fmt::format("error: {}", error.what()));
    return 2;
  } catch (const std::exception& error) {
    nbdstack::say(fmt::format("error: {}", error.what()));
    return 1;
  }
}
