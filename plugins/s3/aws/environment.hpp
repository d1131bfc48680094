// The environment variables, files, programs, network and clock that credentials need, behind a
// seam: unit tests substitute a fake and never touch the real environment.
//
// Each function may be called from any thread and at any time, also before and after a fork:
// neither threads nor connections are kept between calls.
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
  // For a service of this machine's own platform: no proxy is used, whatever the variables say.
  bool is_direct = false;
  std::string ca_file{};  // empty for the system's
};

struct Environment {
  // Returns nothing if the variable is not set.
  std::function<std::optional<std::string>(const std::string& name)> find_variable;
  // Returns nothing if the file does not exist. Throws Error if it cannot be read.
  std::function<std::optional<std::string>(const std::string& path)> read_file;
  // Gives a file, which must exist, new content (replace_file.hpp).
  std::function<void(const std::string& path, const std::function<std::string()>& make)>
      replace_file;
  // Runs a program (searched for in PATH) without a shell and without input. Throws Error if it
  // cannot be run, runs longer than `limit` (it is killed with its children) or writes far more
  // than credentials need.
  std::function<ProcessOutcome(const std::vector<std::string>& arguments,
                               std::chrono::milliseconds limit)>
      run;
  // Sends one request over a connection of its own.
  std::function<HttpOutcome(const HttpRequest& request, const ExchangeOptions& options)> exchange;
  std::function<std::chrono::system_clock::time_point()> wall_time;
  // For the pauses between attempts.
  std::shared_ptr<Clock> clock;

  static Environment of_process();

  // Returns the variable's value, or an empty text if it is not set: AWS tools treat both alike.
  [[nodiscard]] std::string variable(const std::string& name) const {
    return find_variable(name).value_or("");
  }
  // Returns the path, with "~/" at its beginning replaced by the home directory.
  [[nodiscard]] std::string expand_home(const std::string& path) const {
    return path.starts_with("~/") ? variable("HOME") + path.substr(1) : path;
  }
};

}  // namespace nbdstack
