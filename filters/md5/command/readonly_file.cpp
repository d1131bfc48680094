#include "filters/md5/command/readonly_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/error.hpp"

namespace nbdstack {

ReadOnlyFile::ReadOnlyFile(const std::string& path) : file_(File::open(path, O_RDONLY)) {}

std::uint64_t ReadOnlyFile::next_data(std::uint64_t offset) const {
  const off_t found = ::lseek(file_.descriptor(), static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return static_cast<std::uint64_t>(found);
  if (errno == ENXIO) return std::max(offset, size_bytes());
  if (errno == EINVAL || errno == EOPNOTSUPP) return offset;
  throw system_error(errno, "look for data in {}", path());
}

void ReadOnlyFile::write_at(std::span<const std::byte> /*buffer*/, std::uint64_t /*offset*/) {
  refuse();
}

void ReadOnlyFile::punch_hole(std::uint64_t /*length*/, std::uint64_t /*offset*/) {
  refuse();
}

void ReadOnlyFile::sync_data() {
  refuse();
}

void ReadOnlyFile::refuse() const {
  throw Error(EBADF, path() + " was opened for reading only");
}

}  // namespace nbdstack
