#include "filters/cache/serving/stop_extension.hpp"

#include <chrono>
#include <exception>
#include <utility>

#include "common/io/service_manager.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// How often it is looked whether something has got on, and for how long that is good: some requests
// of 4 MiB over a slow line.
constexpr std::chrono::seconds kLookEvery{5};
constexpr const char* kTwoMinutes = "EXTEND_TIMEOUT_USEC=120000000";

}  // namespace

StopExtension::StopExtension(std::function<std::uint64_t()> progress)
    : progress_(std::move(progress)) {
  if (!has_service_manager()) return;
  tell_service_manager(kTwoMinutes);
  try {
    thread_ = std::thread([this] { main(); });
  } catch (const std::exception& error) {
    log::debug("cache: the service manager is not asked for more time: {}", error.what());
  }
}

StopExtension::~StopExtension() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StopExtension::main() {
  std::uint64_t before = progress_();
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kLookEvery, [this] { return ended_; })) {
    const std::uint64_t now = progress_();
    if (now != before) tell_service_manager(kTwoMinutes);
    before = now;
  }
}

}  // namespace nbdstack
