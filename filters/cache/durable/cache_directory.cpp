#include "filters/cache/durable/cache_directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/io/key_value_text.hpp"
#include "common/io/lack_of_room.hpp"

namespace nbdstack {
namespace {

constexpr const char* kIdentity = "identity";
constexpr const char* kNewIdentity = "identity.new";
constexpr const char* kLock = "lock";
constexpr std::string_view kFormat = "1";

std::string to_text(const CacheIdentity& identity) {
  return to_key_value_text({{"format", std::string(kFormat)},
                            {"export", identity.export_name},
                            {"disk_size", std::to_string(identity.disk_size_bytes)},
                            {"block_size", std::to_string(identity.block_size_bytes)},
                            {"cache_id", identity.cache_id},
                            {"uuid", random_uuid()}});
}

std::optional<CacheIdentity> from_text(std::string_view text) {
  auto parsed = parse_key_value_text(text);
  if (!parsed) return std::nullopt;
  KeyValues& values = *parsed;
  CacheIdentity identity{.export_name = values["export"],
                         .disk_size_bytes = 0,
                         .block_size_bytes = 0,
                         .cache_id = values["cache_id"]};
  const bool valid =
      values["format"] == kFormat && parse_number(values["disk_size"], identity.disk_size_bytes) &&
      parse_number(values["block_size"], identity.block_size_bytes) && values.contains("uuid");
  if (!valid) return std::nullopt;
  return identity;
}

std::string read_all(const File& file) {
  std::string text(file.size_bytes(), '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

// What belongs to a cache that was never claimed.
bool is_leftover(const std::string& name) {
  return name == kLock || name == kNewIdentity;
}

void refuse_foreign_files(const SystemDirectory& directory) {
  const std::vector<std::string> names = directory.names();
  if (std::find(names.begin(), names.end(), kIdentity) != names.end()) return;
  const auto foreign = std::find_if_not(names.begin(), names.end(), is_leftover);
  if (foreign == names.end()) return;
  throw Error(ENOTEMPTY, fmt::format("cache-dir {} holds files that are no cache's, such as {}: "
                                     "name an empty directory, or one that does not exist",
                                     directory.path(), *foreign));
}

File take_lock(const std::string& path) {
  File lock = File::open(path + "/" + kLock, O_RDWR | O_CREAT);
  if (!lock.try_lock()) {
    const std::string holder = read_all(lock);
    throw Error(EBUSY, fmt::format("cache-dir {} is in use by another server{}{}", path,
                                   holder.empty() ? "" : ", process ", holder));
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock.descriptor(), 0) == -1) throw system_error(errno, "write {}", lock.path());
  try {
    lock.write_at(std::as_bytes(std::span(pid)), 0);
  } catch (const Error& error) {
    // On a full disk the holder has no name: it is the lock that counts.
    if (!is_for_lack_of_room(error)) throw;
  }
  return lock;
}

std::string difference(const CacheIdentity& found, const CacheIdentity& wanted) {
  std::string text;
  const auto compare = [&](const char* what, const auto& there, const auto& here) {
    if (there == here) return;
    text += fmt::format("{}{} \"{}\", not \"{}\"", text.empty() ? "" : ", ", what, there, here);
  };
  compare("export", found.export_name, wanted.export_name);
  compare("disk size", found.disk_size_bytes, wanted.disk_size_bytes);
  compare("block size", found.block_size_bytes, wanted.block_size_bytes);
  compare("cache-id", found.cache_id, wanted.cache_id);
  return text;
}

}  // namespace

std::unique_ptr<CacheDirectory> CacheDirectory::acquire(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == -1 && errno != EEXIST) {
    throw system_error(errno, "create cache-dir {}", path);
  }
  refuse_foreign_files(SystemDirectory(path));
  // The constructor is private.
  std::unique_ptr<CacheDirectory> directory(new CacheDirectory(path, take_lock(path)));
  const std::vector<std::string> names = directory->names();
  if (std::find(names.begin(), names.end(), kIdentity) == names.end()) return directory;
  const std::string text = read_all(File::open(directory->path_of(kIdentity), O_RDONLY));
  directory->identity_ = from_text(text);
  if (!directory->identity_) {
    throw Error(EINVAL, fmt::format("{}/{} is damaged or of another version: to start with an "
                                    "empty cache, remove the files in {}",
                                    path, kIdentity, path));
  }
  return directory;
}

void CacheDirectory::claim(const CacheIdentity& wanted) {
  if (identity_) {
    if (*identity_ == wanted) return;
    throw Error(EINVAL, fmt::format("cache-dir {} is the cache of something else: {}. To discard "
                                    "it with everything in it that has not been written back, "
                                    "remove the files in it",
                                    path(), difference(*identity_, wanted)));
  }
  remove(kNewIdentity);
  const std::string text = to_text(wanted);
  const auto file = open(kNewIdentity);
  file->write_at(std::as_bytes(std::span(text)), 0);
  file->sync_data();
  rename(kNewIdentity, kIdentity);
  sync();
  identity_ = wanted;
}

}  // namespace nbdstack
