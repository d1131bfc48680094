#include "filters/cache/serving/stop_extension.hpp"

#include <chrono>
#include <exception>
#include <utility>

#include "common/io/service_manager.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// The interval of checking the progress, and the time for which progress counts: some requests of 4
// MiB over a slow line.
constexpr std::chrono::seconds kLookEvery{5};
constexpr const char* kTwoMinutes = "EXTEND_TIMEOUT_USEC=120000000";

}  // namespace

StopExtension::StopExtension(std::function<std::uint64_t()> progress) {
  if (!has_service_manager()) return;
  tell_service_manager(kTwoMinutes);
  try {
    thread_.start([progress = std::move(progress)](StoppableThread& self) {
      std::uint64_t before = progress();
      while (self.pause_for(kLookEvery)) {
        const std::uint64_t now = progress();
        if (now != before) tell_service_manager(kTwoMinutes);
        before = now;
      }
    });
  } catch (const std::exception& error) {
    log::debug("cache: the service manager is not asked for more time: {}", error.what());
  }
}

}  // namespace nbdstack
