// The beginning of a file as memory, for small writes over existing content.
//
// A write(2) of 4 KiB into the page cache costs a file system with a journal several microseconds,
// a copy into a shared mapping less than one. But an error of the system call is a signal here:
// SIGBUS, if the disk of the file fails, or another process has cut the file. The window turns it
// back into an Error; the process's other SIGBUS signals are passed to their former handler.
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
  // Maps the first `length` bytes of the file, which may be shorter yet; `file` outlives the
  // window. If the system refuses, the window is empty.
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
