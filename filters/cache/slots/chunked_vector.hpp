// An array that grows by chunks.
//
// The cache's data of a slot is in arrays indexed by slot. A std::vector doubles when it grows: for
// a moment it uses three times the memory, afterwards up to half of it is unused. Here at most one
// chunk is unused, and growing never moves an element.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace nbdstack {

template <typename T>
class ChunkedVector {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& operator[](std::size_t index) { return chunks_[index / kChunk][index % kChunk]; }
  [[nodiscard]] const T& operator[](std::size_t index) const {
    return chunks_[index / kChunk][index % kChunk];
  }
  // New elements are value-initialised. Never shrinks.
  void grow_to(std::size_t size) {
    if (size <= size_) return;
    while (chunks_.size() * kChunk < size) chunks_.push_back(std::make_unique<T[]>(kChunk));
    size_ = size;
  }

 private:
  static constexpr std::size_t kChunk = 4096;

  std::vector<std::unique_ptr<T[]>> chunks_;
  std::size_t size_ = 0;
};

}  // namespace nbdstack
