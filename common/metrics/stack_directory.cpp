#include "common/metrics/stack_directory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kSuffix = ".prom";
// Others may have put a FIFO there, whose open(2) would wait for its other end.
constexpr int kToRead = O_RDONLY | O_NONBLOCK;

struct flock whole_file(short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  return lock;
}

// An OFD lock, unlike flock(2)'s, can be asked for without being taken: a reader is never in the
// way of a server that starts. It outlives a fork, as flock(2)'s does.
bool is_locked(const std::string& path) {
  try {
    const File file = File::open(path, kToRead);
    struct flock lock = whole_file(F_RDLCK);
    return ::fcntl(file.descriptor(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  } catch (const Error&) {
    return false;
  }
}

// Returns false if there is no such file (any more).
bool read_content(const std::string& path, FoundLayer& layer) {
  try {
    const File file = File::open(path, kToRead);
    struct stat status {};
    if (::fstat(file.descriptor(), &status) == -1) throw system_error(errno, "stat {}", path);
    layer.written_at = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::seconds(status.st_mtim.tv_sec) +
            std::chrono::nanoseconds(status.st_mtim.tv_nsec)));
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (!S_ISREG(status.st_mode) || size > kMostTextBytes) return true;
    std::string text(size, '\0');
    file.read_at(std::as_writable_bytes(std::span(text)), 0);
    layer.text = std::move(text);
    return true;
  } catch (const Error& error) {
    return error.code() != ENOENT;
  }
}

// Adds the layers of one stack.
void find_layers_of(const std::string& stacks, const std::string& stack,
                    std::vector<FoundLayer>& found) {
  const std::string directory = stacks + "/" + stack;
  for_each_entry(directory, [&](const std::string& name, EntryKind) {
    if (name.starts_with('.') || !name.ends_with(kSuffix)) return;
    FoundLayer layer;
    layer.stack = stack;
    layer.layer = name.substr(0, name.size() - kSuffix.size());
    // Before and after: its server may start or stop meanwhile.
    const std::string lock = fmt::format("{}/{}.lock", directory, layer.layer);
    const bool was_running = is_locked(lock);
    if (!read_content(directory + "/" + name, layer)) return;
    layer.is_running = was_running || is_locked(lock);
    found.push_back(std::move(layer));
  });
}

}  // namespace

std::string stack_directory(const std::string& text) {
  if (text.empty() || text == "." || text == "..") {
    throw Error(EINVAL, "metrics: a name for this stack, such as vm1, or a directory");
  }
  if (text.find('/') == std::string::npos) return default_stacks() + "/" + text;
  return text;
}

std::string default_stacks() {
  if (::geteuid() == 0) return kStacksOfRoot;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime == '\0') {
    throw Error(EINVAL,
                "metrics: XDG_RUNTIME_DIR is not set, so that there is no default place: give a "
                "directory, such as /tmp/metrics/vm1");
  }
  return std::string(runtime) + "/nbdstack";
}

std::string stack_name(const std::string& directory) {
  const std::size_t end = directory.find_last_not_of('/');
  const std::string path = directory.substr(0, end + 1);
  return path.substr(path.rfind('/') + 1);
}

LayerFile::LayerFile(std::string directory, const std::string& layer)
    : path_(fmt::format("{}/{}{}", directory, layer, kSuffix)),
      lock_path_(fmt::format("{}/{}.lock", directory, layer)),
      new_path_(fmt::format("{}/.{}.new", directory, layer)) {}

void LayerFile::take_lock() {
  File file = File::open(lock_path_, O_RDWR | O_CREAT, 0644);
  struct flock lock = whole_file(F_WRLCK);
  if (::fcntl(file.descriptor(), F_OFD_SETLK, &lock) == -1) {
    if (errno != EAGAIN && errno != EACCES) throw system_error(errno, "lock {}", lock_path_);
    throw Error(EBUSY, fmt::format("metrics: another server writes {}: give each stack a name of "
                                   "its own",
                                   path_));
  }
  lock_ = std::move(file);
}

void LayerFile::write(const std::string& text) {
  if (!lock_) take_lock();
  {
    const File file = File::open(new_path_, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    file.write_at(std::as_bytes(std::span(text)), 0);
  }
  if (std::rename(new_path_.c_str(), path_.c_str()) != 0) {
    throw system_error(errno, "rename {}", new_path_);
  }
}

// The file is owned by its lock's owner. The lock file stays: removed, it could be locked twice.
void LayerFile::remove() noexcept {
  if (!lock_) return;
  ::unlink(path_.c_str());
  lock_.reset();
}

std::vector<FoundLayer> find_layers(const std::string& stacks) {
  std::vector<FoundLayer> found;
  for_each_entry(stacks, [&](const std::string& stack, EntryKind kind) {
    if (kind != EntryKind::directory) return;
    try {
      find_layers_of(stacks, stack, found);
    } catch (const Error& error) {
      if (error.code() != EACCES) throw;
    }
  });
  std::sort(found.begin(), found.end(), [](const FoundLayer& a, const FoundLayer& b) {
    return std::tie(a.stack, a.layer) < std::tie(b.stack, b.layer);
  });
  return found;
}

}  // namespace nbdstack
