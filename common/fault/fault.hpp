// A failure that may come again and again, such as one for each request while a service is gone:
// the log gets a line when it begins and a line when it is over, not a line each time.
//
//   state    | failed(message)                           | succeeded()
//   ---------+-------------------------------------------+-----------------------------------------
//   none     | logs the message, becomes standing        | does nothing
//   standing | counts; logs the message if it is unlike  | if the last failure is `quiet` ago: logs
//            | those that this fault has logged          | how many failed, becomes none
//
// Messages are alike if they differ in numbers only (offsets, keys, times): an outage that fails
// first by "connection refused" and then by "timeout" is one fault of two lines. Of failures with a
// subject (Error::about), such as a block that is damaged, each subject is logged. A fault logs
// kMostMessages at most, and kMostSubjects; what it does not log as an error it logs for nbdkit -v.
//
// If some requests fail and others succeed, the fault stands until none has failed for `quiet`. A
// fault that stands when the server ends is told by end().
#pragma once

#include <fmt/core.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/sync/mutex.hpp"

namespace nbdstack {

// Any thread may call everything. Nothing throws, and memory is not needed, as a failure may be
// about its lack.
class Fault {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMostMessages = 16;
  static constexpr std::size_t kMostSubjects = 4096;

  // `what` is a literal in the plural: "flushes" makes "flushes succeed again: 3 failed ...".
  explicit Fault(const char* what, Clock::duration quiet = std::chrono::seconds(10),
                 Clock::time_point (*now)() = Clock::now)
      : what_(what), quiet_(quiet), now_(now) {}

  void failed_with(const char* message, std::optional<std::uint64_t> subject = {}) noexcept
      EXCLUDES(mutex_);
  // Without the values if there is no memory to format them.
  template <typename... Args>
  void failed(fmt::format_string<Args...> format, Args&&... args) noexcept {
    try {
      failed_with(fmt::format(format, std::forward<Args>(args)...).c_str());
    } catch (const std::exception&) {
      failed_with(fmt::string_view(format).data());  // a literal, so it ends with a zero
    }
  }

  // Costs one look at an atomic while there is no fault.
  void succeeded() noexcept EXCLUDES(mutex_) {
    if (stands_.load(std::memory_order_relaxed)) end_if_quiet();
  }

  // Logs how many failed if more did than the log shows.
  void end() noexcept EXCLUDES(mutex_);

 private:
  void end_if_quiet() noexcept EXCLUDES(mutex_);
  bool is_new_message(std::string_view message) REQUIRES(mutex_);
  bool is_new_subject(std::uint64_t subject) REQUIRES(mutex_);
  void forget() REQUIRES(mutex_);
  [[nodiscard]] double duration_s() const REQUIRES(mutex_);

  const char* const what_;
  const Clock::duration quiet_;
  Clock::time_point (*const now_)();
  std::atomic<bool> stands_ = false;  // changed with mutex_ held
  Mutex mutex_;
  std::uint64_t failures_ GUARDED_BY(mutex_) = 0;
  Clock::time_point first_ GUARDED_BY(mutex_);
  Clock::time_point last_ GUARDED_BY(mutex_);
  std::uint64_t logged_ GUARDED_BY(mutex_) = 0;
  std::size_t messages_ GUARDED_BY(mutex_) = 0;  // that many of what follows
  std::array<std::uint64_t, kMostMessages> hashes_ GUARDED_BY(mutex_){};
  std::vector<std::uint64_t> subjects_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
