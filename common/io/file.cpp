#include "common/io/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File File::open(const std::string& path, int flags, unsigned mode) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (descriptor == -1) throw system_error(errno, "open {}", path);
  return {descriptor, path};
}

// A name that is removed again, and not O_TMPFILE: some file systems lack it, and /proc/PID/fd then
// shows what it is.
File File::temporary(const std::string& directory, const std::string& name_prefix) {
  std::string path = directory + "/" + name_prefix + "XXXXXX";
  const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor == -1) throw system_error(errno, "create a temporary file {}", path);
  ::unlink(path.c_str());
  return {descriptor, path};
}

void File::read_at(std::span<std::byte> buffer, std::uint64_t offset) const {
  while (!buffer.empty()) {
    const ssize_t got =
        ::pread(descriptor_, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got == -1 && errno == EINTR) continue;
    if (got == -1) throw system_error(errno, "read {} at {}", path_, offset);
    if (got == 0) throw Error(EIO, fmt::format("{} ends at {}: more was expected", path_, offset));
    buffer = buffer.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void File::write_at(std::span<const std::byte> buffer, std::uint64_t offset) const {
  while (!buffer.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (put == -1 && errno == EINTR) continue;
    if (put == -1) throw system_error(errno, "write {} at {}", path_, offset);
    buffer = buffer.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void File::punch_hole(std::uint64_t length, std::uint64_t offset) const {
  if (::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) {
    return;
  }
  if (errno != EOPNOTSUPP) throw system_error(errno, "punch a hole into {} at {}", path_, offset);
  constexpr std::size_t kStep_bytes = 64U << 10U;
  const std::vector<std::byte> zeros(std::min<std::uint64_t>(length, kStep_bytes));
  for (std::uint64_t done = 0; done < length;) {
    const auto step = std::min<std::uint64_t>(zeros.size(), length - done);
    write_at({zeros.data(), static_cast<std::size_t>(step)}, offset + done);
    done += step;
  }
}

void File::sync_data() const {
  if (::fdatasync(descriptor_) == -1) throw system_error(errno, "sync {}", path_);
}

void File::reserve(std::uint64_t length, std::uint64_t offset) const {
  const int result = ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                 static_cast<off_t>(length));
  if (result == -1 && errno != EOPNOTSUPP && errno != ENOSYS) {
    throw system_error(errno, "reserve {} bytes in {}", length, path_);
  }
}

bool File::try_lock() const {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) throw system_error(errno, "lock {}", path_);
  return false;
}

std::uint64_t File::size_bytes() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) == -1) throw system_error(errno, "stat {}", path_);
  return static_cast<std::uint64_t>(status.st_size);
}

void sync_directory(const std::string& path) {
  const File directory = File::open(path, O_RDONLY | O_DIRECTORY);
  if (::fsync(directory.descriptor()) == -1) throw system_error(errno, "sync directory {}", path);
}

}  // namespace nbdstack
