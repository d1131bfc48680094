// The work of the programs of bench/s3-transfer, from the command line.
//
//   PROGRAM get|put|random URL OBJECTS OBJECT_BYTES REQUESTS IN_FLIGHT
//
//   get     REQUESTS whole objects in their order: URL/0, URL/1 ... URL/OBJECTS-1, URL/0 ...
//   put     the same, sent
//   random  REQUESTS ranges of 64 KiB, anywhere in any of them
//
// A program ends with status 0 when every answer was the expected one.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>

namespace nbdstack::bench {

constexpr std::size_t kRangeBytes = std::size_t{64} << 10U;

struct Request {
  std::string url;
  std::string range;  // empty: the whole object
};

class Work {
 public:
  Work(int count, char** words) {
    if (count != 7) {
      throw std::runtime_error(fmt::format(
          "usage: {} get|put|random URL OBJECTS OBJECT_BYTES REQUESTS IN_FLIGHT", words[0]));
    }
    kind_ = words[1];
    url_ = words[2];
    objects_ = std::stoul(words[3]);
    object_bytes_ = std::stoul(words[4]);
    requests_ = std::stoul(words[5]);
    in_flight_ = static_cast<unsigned>(std::stoul(words[6]));
  }

  [[nodiscard]] bool is_put() const { return kind_ == "put"; }
  [[nodiscard]] bool is_random() const { return kind_ == "random"; }
  [[nodiscard]] unsigned in_flight() const { return in_flight_; }
  [[nodiscard]] std::size_t body_bytes() const { return is_random() ? kRangeBytes : object_bytes_; }
  [[nodiscard]] int expected_status() const { return is_random() ? 206 : 200; }
  [[nodiscard]] bool is_expected(long status) const {
    return is_put() ? status / 100 == 2 : status == expected_status();
  }

  // Returns false if all have been given out. May be called by any thread.
  bool next(Request& request) {
    const std::size_t number = given_.fetch_add(1, std::memory_order_relaxed);
    if (number >= requests_) return false;
    std::size_t object = number % objects_;
    request.range.clear();
    if (is_random()) {
      std::minstd_rand random(static_cast<unsigned>(number) + 1);
      random.discard(2);
      object = random() % objects_;
      const std::size_t offset = random() % (object_bytes_ / kRangeBytes) * kRangeBytes;
      request.range = fmt::format("bytes={}-{}", offset, offset + kRangeBytes - 1);
    }
    request.url = fmt::format("{}/{}", url_, object);
    return true;
  }

 private:
  std::string kind_;
  std::string url_;
  std::size_t objects_ = 0;
  std::size_t object_bytes_ = 0;
  std::size_t requests_ = 0;
  unsigned in_flight_ = 0;
  std::atomic<std::size_t> given_{0};
};

}  // namespace nbdstack::bench
