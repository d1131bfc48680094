// What is logged.
#pragma once

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "common/log.hpp"

namespace nbdstack::testing {

// What is logged as an error while this exists. One at a time.
class LogOfErrors {
 public:
  LogOfErrors() {
    lines().clear();
    log::set_sink({[](const char* line) {
                     const std::lock_guard lock(mutex());
                     lines().emplace_back(line);
                   },
                   [](const char*) {}});
  }
  LogOfErrors(const LogOfErrors&) = delete;
  LogOfErrors& operator=(const LogOfErrors&) = delete;
  // Errors are written to stderr again: a broken invariant of a later test must be seen there.
  ~LogOfErrors() {
    log::set_sink(
        {[](const char* line) { std::fprintf(stderr, "error: %s\n", line); }, [](const char*) {}});
  }

  [[nodiscard]] std::vector<std::string> all() const {
    const std::lock_guard lock(mutex());
    return lines();
  }
  // Lines that contain all of `words`.
  [[nodiscard]] std::size_t count(const std::vector<std::string>& words) const {
    std::size_t count = 0;
    for (const std::string& line : all()) {
      count += static_cast<std::size_t>(std::all_of(
          words.begin(), words.end(),
          [&](const std::string& word) { return line.find(word) != std::string::npos; }));
    }
    return count;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }
  static std::vector<std::string>& lines() {
    static std::vector<std::string> lines;
    return lines;
  }
};

}  // namespace nbdstack::testing
