#include "common/io/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "common/error.hpp"

namespace nbdstack {
namespace {

class SystemFile final : public StorageFile {
 public:
  explicit SystemFile(const std::string& path) : file_(File::open(path, O_RDWR | O_CREAT)) {}

  [[nodiscard]] const std::string& path() const override { return file_.path(); }
  [[nodiscard]] std::uint64_t size_bytes() const override { return file_.size_bytes(); }
  void read_at(std::span<std::byte> buffer, std::uint64_t offset) const override {
    file_.read_at(buffer, offset);
  }
  void write_at(std::span<const std::byte> buffer, std::uint64_t offset) override {
    file_.write_at(buffer, offset);
  }
  void punch_hole(std::uint64_t length, std::uint64_t offset) override {
    file_.punch_hole(length, offset);
  }
  void sync_data() override { file_.sync_data(); }
  void reserve(std::uint64_t length, std::uint64_t offset) override {
    file_.reserve(length, offset);
  }

 private:
  File file_;
};

EntryKind kind_of(const std::string& path, unsigned char type) {
  if (type == DT_REG) return EntryKind::file;
  if (type == DT_DIR) return EntryKind::directory;
  struct stat status {};
  if (type == DT_UNKNOWN && ::lstat(path.c_str(), &status) == 0) {
    if (S_ISREG(status.st_mode)) return EntryKind::file;
    if (S_ISDIR(status.st_mode)) return EntryKind::directory;
  }
  // A link counts as the file it leads to; one that leads to a directory could lead in a circle.
  const bool to_file = ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  return to_file ? EntryKind::file : EntryKind::other;
}

}  // namespace

void read_padded(const StorageFile& file, std::span<std::byte> buffer, std::uint64_t offset) {
  const std::uint64_t size = file.size_bytes();
  const std::uint64_t there = offset < size ? size - offset : 0;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(there, buffer.size()));
  if (count > 0) file.read_at(buffer.first(count), offset);
  std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(count), buffer.end(), std::byte{0});
}

bool for_each_entry(const std::string& path,
                    const std::function<void(const std::string& name, EntryKind)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (directory == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw system_error(errno, "open directory {}", path);
  }
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = static_cast<const char*>(entry->d_name);
    if (name == "." || name == "..") continue;
    visit(name, kind_of(fmt::format("{}/{}", path, name), entry->d_type));
  }
  if (errno != 0) throw system_error(errno, "read directory {}", path);
  return true;
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  if (!for_each_entry(path, [&](const auto& name, auto) { names.push_back(name); })) {
    throw system_error(errno, "open directory {}", path);
  }
  return names;
}

std::unique_ptr<StorageFile> SystemDirectory::open(const std::string& name) {
  return std::make_unique<SystemFile>(path_of(name));
}

void SystemDirectory::rename(const std::string& from, const std::string& to) {
  if (std::rename(path_of(from).c_str(), path_of(to).c_str()) == -1) {
    throw system_error(errno, "rename {} to {}", path_of(from), to);
  }
}

void SystemDirectory::remove(const std::string& name) {
  if (::unlink(path_of(name).c_str()) == -1 && errno != ENOENT) {
    throw system_error(errno, "remove {}", path_of(name));
  }
}

}  // namespace nbdstack
