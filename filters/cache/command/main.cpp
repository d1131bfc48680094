// nbdstack-cache: shows, saves or discards the content of a cache-dir. See man/nbdstack-cache.pod.
#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "common/command/print.hpp"
#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/command/command_options.hpp"
#include "filters/cache/command/opened_cache.hpp"

namespace nbdstack {
namespace {

void say(const std::string& message) {
  fmt::print(stderr, "nbdstack-cache: error: {}\n", message);
}

int exit_status_of(const OpenedCache& cache) {
  return std::any_of(cache.parts().begin(), cache.parts().end(),
                     [](const auto& part) { return part.kind == UnwrittenPart::Kind::damaged; })
             ? 1
             : 0;
}

int put_out(const OpenedCache& cache, const std::string& path) {
  cache.expect_readable();  // before there is a file
  const File file = File::open(path, O_RDWR | O_CREAT | O_EXCL);
  cache.put_out(file);
  print(description_of(cache));
  return exit_status_of(cache);
}

int discard(OpenedCache& cache, const CacheCommandOptions& options) {
  const std::uint64_t bytes = cache.survey().unwritten_bytes;
  if (bytes != 0 && !options.yes) {
    throw Error(EBUSY,
                fmt::format("{} holds {} bytes that were never written back: \"nbdstack-cache "
                            "export\" keeps them, and --yes discards them",
                            options.directory, bytes));
  }
  cache.discard();
  return 0;
}

int run(const std::vector<std::string>& words) {
  using Action = CacheCommandOptions::Action;
  const CacheCommandOptions options = parse_cache_command(words);
  log::set_sink({.error = [](const char* message) { say(message); }, .debug = [](const char*) {}});
  const auto open = [&] { return OpenedCache(options.directory, options.passphrase); };
  switch (options.action) {
    case Action::help:
      print(cache_command_help());
      return 0;
    case Action::version:
      print("nbdstack-cache " NBDSTACK_VERSION "\n");
      return 0;
    case Action::discard: {
      OpenedCache cache = open();
      return discard(cache, options);
    }
    case Action::put_out: {
      OpenedCache cache = open();
      return put_out(cache, options.file);
    }
    case Action::show: {
      const OpenedCache cache = open();
      print(description_of(cache));
      return exit_status_of(cache);
    }
  }
  return 0;
}

}  // namespace
}  // namespace nbdstack

int main(int argc, char** argv) {
  try {
    return nbdstack::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    nbdstack::say(error.what());
    return 2;
  }
}
