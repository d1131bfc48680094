// Asks the service manager for more time to stop, for as long as a write-back gets on.
//
// systemd kills a service that has not ended TimeoutStopSec after the signal, unless it asks for
// more (EXTEND_TIMEOUT_USEC). Without a service manager this does nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace nbdstack {

class StopExtension {
 public:
  // `progress` returns a number that changes when something has got on. Any thread.
  explicit StopExtension(std::function<std::uint64_t()> progress);
  StopExtension(const StopExtension&) = delete;
  StopExtension& operator=(const StopExtension&) = delete;
  ~StopExtension();

 private:
  void main();

  const std::function<std::uint64_t()> progress_;
  std::mutex mutex_;  // protects what follows
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
