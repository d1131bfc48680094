// How much may be fetched that nobody has asked for yet.
//
// What is asked for ahead is taken from the allowance and comes back when it is read: what nobody
// reads is lost. It begins with two first windows for each stream, one that he reads and one that
// is fetched meanwhile: with less, readers of many streams wait for the layer below once in every
// window. It grows by a sixteenth of what streams read. Hence, whatever readers do,
//
//   bytes fetched <= bytes read + 2 * streams * first window + bytes read by streams / 16
//
// holds at any time: a wrong guess costs little, many of them cost no more, and the windows of who
// reads on are as large as what he has read makes them worth.
//
// When no more is left than half of what it began with, that is for those who have read on
// (Stream::reads_on): what only looked like streams, as some random reads of a small area do, can
// lose no more than the other half.
//
// No locking: the owner holds its mutex around every call.
#pragma once

#include <algorithm>
#include <cstdint>

namespace nbdstack {

class Allowance {
 public:
  Allowance(std::uint64_t streams, std::uint64_t first_bytes, std::uint64_t largest_bytes)
      : most_bytes_(streams * std::max(2 * first_bytes, largest_bytes)),
        kept_bytes_(streams * first_bytes),
        left_bytes_(2 * streams * first_bytes) {}

  [[nodiscard]] std::uint64_t left_bytes() const { return left_bytes_; }
  // For a stream that has not read on yet.
  [[nodiscard]] std::uint64_t left_for_guesses_bytes() const {
    return left_bytes_ - std::min(left_bytes_, kept_bytes_);
  }

  void spend(std::uint64_t bytes) { left_bytes_ -= std::min(bytes, left_bytes_); }
  void give_back(std::uint64_t bytes) { left_bytes_ = std::min(left_bytes_ + bytes, most_bytes_); }
  void earn(std::uint64_t read_bytes) { give_back(read_bytes / kReadForOne); }

 private:
  static constexpr std::uint64_t kReadForOne = 16;

  std::uint64_t most_bytes_;
  std::uint64_t kept_bytes_;
  std::uint64_t left_bytes_;
};

}  // namespace nbdstack
