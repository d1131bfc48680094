// The process's environment, files, programs, network and clock, as far as credentials need them,
// behind a seam: in unit tests nothing is read, run or asked but what the test wrote down.
//
// Everything may be called from any thread and at any time, also before and after a fork: nothing
// is kept from one call to the next, neither threads nor connections.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/sync/clock.hpp"
#include "plugins/s3/aws/run_program.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

struct ExchangeOptions {
  std::chrono::milliseconds connect_timeout;
  std::chrono::milliseconds timeout;  // of the whole
  // A service of this machine's own surroundings: no proxy is asked, whatever the environment says.
  bool is_direct = false;
  std::string ca_file{};  // empty: the system's
};

struct Surroundings {
  // Nothing where the variable is not set.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Nothing where there is no such file. One that cannot be read is an Error.
  std::function<std::optional<std::string>(const std::string& path)> read_file;
  // Gives a file, which must exist, new content (replace_file.hpp).
  std::function<void(const std::string& path, const std::function<std::string()>& make)>
      replace_file;
  // Runs a program (searched for in PATH) without a shell and without input. Throws Error for one
  // that cannot be run, that lasts longer than `limit` (it is killed, and so are its children) or
  // that says far more than credentials need.
  std::function<ProcessOutcome(const std::vector<std::string>& arguments,
                               std::chrono::milliseconds limit)>
      run;
  // One request over a connection of its own.
  std::function<HttpOutcome(const HttpRequest& request, const ExchangeOptions& options)> exchange;
  std::function<std::chrono::system_clock::time_point()> wall_time;
  // For the pauses between attempts.
  std::shared_ptr<Clock> clock;

  static Surroundings of_process();

  // Empty where the variable is not set, too: AWS tools make no difference.
  [[nodiscard]] std::string variable(const std::string& name) const {
    return environment(name).value_or("");
  }
  // "~/x" as a file in the home directory.
  [[nodiscard]] std::string expand_home(const std::string& path) const {
    return path.starts_with("~/") ? variable("HOME") + path.substr(1) : path;
  }
};

}  // namespace nbdstack
