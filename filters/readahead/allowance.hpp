// How much may be fetched that nobody has asked for yet.
//
// What is asked for ahead is taken from the allowance and comes back when it is read: what nobody
// reads is lost. It begins with a small sum and grows by a sixteenth of what streams read. Hence,
// whatever readers do,
//
//   bytes fetched <= bytes read + start + bytes read by streams / 16
//
// holds at any time: a wrong guess costs little, many of them cost no more, and the windows of who
// reads on are as large as what he has read makes them worth.
//
// No locking: the owner holds its mutex around every call.
#pragma once

#include <algorithm>
#include <cstdint>

namespace nbdstack {

class Allowance {
 public:
  Allowance(std::uint64_t start_bytes, std::uint64_t most_bytes)
      : most_bytes_(std::max(start_bytes, most_bytes)), left_bytes_(start_bytes) {}

  [[nodiscard]] std::uint64_t left_bytes() const { return left_bytes_; }

  void spend(std::uint64_t bytes) { left_bytes_ -= std::min(bytes, left_bytes_); }
  void give_back(std::uint64_t bytes) { left_bytes_ = std::min(left_bytes_ + bytes, most_bytes_); }
  void earn(std::uint64_t read_bytes) { give_back(read_bytes / kReadForOne); }

 private:
  static constexpr std::uint64_t kReadForOne = 16;

  std::uint64_t most_bytes_;
  std::uint64_t left_bytes_;
};

}  // namespace nbdstack
