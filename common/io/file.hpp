// Files: descriptors that close themselves, whole reads and writes at an offset, holes. Every
// failure is an Error with the system's errno that names the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace nbdstack {

class File {
 public:
  File() = default;
  // Takes over `descriptor`; `path` is for messages.
  File(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  File(File&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~File();

  // `flags` and `mode` as for open(2); O_CLOEXEC is added.
  static File open(const std::string& path, int flags, unsigned mode = 0600);
  // Creates a file without a name in `directory`, which vanishes when it is closed.
  static File temporary(const std::string& directory, const std::string& name_prefix);

  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Reads exactly buffer.size() bytes; a file that ends before is an Error(EIO).
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const;
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) const;
  // Gives the storage of a range back; it reads as zeros. Without support for holes, writes zeros.
  void punch_hole(std::uint64_t length, std::uint64_t offset) const;
  void sync_data() const;
  // Allocates storage for a range without changing content or size. Does nothing if the file system
  // cannot do that.
  void reserve(std::uint64_t length, std::uint64_t offset) const;
  // Locks the file (flock) until it is closed. Returns false if another open file has that lock.
  [[nodiscard]] bool try_lock() const;
  [[nodiscard]] std::uint64_t size_bytes() const;

 private:
  int descriptor_ = -1;
  std::string path_;
};

// Makes changes of a directory (creation, rename, removal) durable.
void sync_directory(const std::string& path);

}  // namespace nbdstack
