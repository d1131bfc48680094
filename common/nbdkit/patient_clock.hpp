// The server's clock for work that goes on until it is done or the server stops, even when the
// client who asked for it has gone.
//
// nbdkit says that it stops by ending its sleep, and says the same in a connection's threads when
// the client leaves. A write that is under way must not be given up for that: it may still reach
// the service, after a later write of the same block. So a thread of its own, which belongs to no
// connection, does the looking.
//
// It looks only when asked, because nbdkit logs a line each time a sleep meets the end of the
// server: one line then tells that work was cut off, and an idle server stops in silence.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "common/sync/clock.hpp"

namespace nbdstack {

class PatientClock final : public Clock {
 public:
  // Starts the thread: not before after_fork.
  PatientClock() : thread_([this] { look_when_asked(); }) {}
  ~PatientClock() override;

  [[nodiscard]] TimePoint now() const override { return std::chrono::steady_clock::now(); }

  // Throws Error(ESHUTDOWN) soon after the server was told to stop.
  void sleep_for(Duration duration) override;

  // Takes a look, which is a matter of microseconds. To be called again and again while something
  // takes long.
  bool is_stopping();

 private:
  void look_when_asked();

  std::mutex mutex_;  // protects everything below but the thread
  std::condition_variable changed_;
  std::uint64_t asked_ = 0;     // looks asked for
  std::uint64_t answered_ = 0;  // looks taken
  bool stopping_ = false;
  bool ended_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
