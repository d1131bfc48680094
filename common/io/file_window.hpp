// The beginning of a file as memory, for small writes over what is there already.
//
// A write(2) of 4 KiB into the page cache costs a file system with a journal several microseconds,
// a copy into a shared mapping less than one. What a system call would report as an error is a
// signal here, though: SIGBUS, when the disk of the file fails, or when somebody else has cut the
// file off. The window turns it back into an Error; the process's other uses of SIGBUS are passed
// on to whoever handled them before.
//
// Only bytes that have been written before may be written: they have storage, so a full disk does
// not matter, and no page beyond the end of the file is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/io/file.hpp"

namespace nbdstack {

class FileWindow {
 public:
  // The first `length` bytes of the file, which may be shorter yet; `file` outlives the window.
  // Where the system refuses, the window is empty.
  FileWindow(const File& file, std::uint64_t length);
  FileWindow(const FileWindow&) = delete;
  FileWindow& operator=(const FileWindow&) = delete;
  ~FileWindow();

  [[nodiscard]] bool contains(std::uint64_t offset, std::size_t length) const {
    return offset <= length_ && length <= length_ - offset;
  }
  // Throws Error(EIO) that names the file.
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) const;

 private:
  const File& file_;
  std::byte* memory_ = nullptr;
  std::uint64_t length_ = 0;
};

}  // namespace nbdstack
