// How far a last write-back is, as told to people (the log) and to the service manager.
//
//   state    from                                     the log gets
//   quiet    begin                                    nothing
//   telling  kQuiet later, if something is left       a line at once, and one every kLogEvery
//   ended    end()                                    one more line, if there was one before
//
// The service manager (systemd) kills a service that has not ended TimeoutStopSec after the signal,
// unless the service requests more. It is asked for kProgressCounts at the beginning, and every
// time that the write-back has made progress since: some requests of 4 MiB over a slow line. What
// it shows as the status of the service is the text of the log.
//
// Externally synchronized. The caller tells the time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/sync/clock.hpp"

namespace nbdstack {

class WriteBackReport {
 public:
  static constexpr Duration kQuiet = std::chrono::seconds(2);
  static constexpr Duration kLogEvery = std::chrono::seconds(10);
  static constexpr std::chrono::seconds kProgressCounts{120};

  // The functions of both structs use objects that outlive the report.
  struct Source {
    std::function<std::uint64_t()> left_bytes;
    // A number that changes with each progress; cheaper than left_bytes().
    std::function<std::uint64_t()> progress;
  };
  struct Readers {
    std::function<void(const std::string& line)> log;
    std::function<void(const std::string& message)> service_manager;  // null if there is none
  };

  WriteBackReport(Source source, Readers readers, TimePoint now);

  [[nodiscard]] bool has_anything_to_tell() const { return total_bytes_ != 0; }
  // To be called every few seconds, and first when kQuiet has passed.
  void look(TimePoint now);
  // Called when the write-back has ended, whatever it has achieved.
  void end(TimePoint now);

 private:
  void ask_for_time(const std::string& status);
  [[nodiscard]] std::string status(std::uint64_t left_bytes, TimePoint now) const;

  const Source source_;
  const Readers readers_;
  const TimePoint begun_at_;
  std::uint64_t total_bytes_;  // a client that came later may have added to it
  std::uint64_t progress_;
  std::optional<TimePoint> logged_at_;
};

}  // namespace nbdstack
