#include "plugins/s3/aws/environment.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "common/error.hpp"
#include "common/sync/system_clock.hpp"
#include "plugins/s3/aws/replace_file.hpp"
#include "plugins/s3/aws/run_program.hpp"

namespace nbdstack {
namespace {

std::optional<std::string> read_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

std::optional<std::string> read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) return std::nullopt;
    throw system_error(code, "{}", path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

HttpOutcome exchange_once(const HttpRequest& request, const ExchangeOptions& options) {
  const auto whole_seconds = std::chrono::ceil<std::chrono::seconds>(options.timeout);
  HttpClient client({.connections = 1,
                     .connect_timeout = options.connect_timeout,
                     .stall_timeout = whole_seconds,
                     .ca_file = options.ca_file,
                     .use_proxy = !options.is_direct});
  return client.perform(request, options.timeout);
}

}  // namespace

Environment Environment::of_process() {
  return {.find_variable = read_variable,
          .read_file = read_whole_file,
          .replace_file = nbdstack::replace_file,
          .run = run_program,
          .exchange = exchange_once,
          .wall_time = [] { return std::chrono::system_clock::now(); },
          .clock = std::make_shared<SystemClock>()};
}

}  // namespace nbdstack
