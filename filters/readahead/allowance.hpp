// Bounds the bytes that are prefetched and not read yet. Externally synchronized.
//
// A prefetch spends from the allowance, and a read of prefetched data gives it back: data that is
// never read is lost. It begins with two first windows for each stream, one to read and one to
// fetch meanwhile: with less, the readers of many streams wait for the layer below once in every
// window. It grows by a sixteenth of what streams read. So whatever clients do,
//
//   bytes fetched <= bytes read + 2 * streams * first window + bytes read by streams / 16
//
// A wrong guess costs little, many of them cost no more, and windows grow with what has been read.
//
// The second half of the initial allowance is reserved for confirmed streams (Stream::reads_on):
// random reads of a small area, which look like streams now and then, can lose only the first half.
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
  // For a stream that is not confirmed yet.
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
