#include "filters/cache/store/durable/cache_directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/io/lack_of_room.hpp"
#include "filters/cache/store/durable/commit_note.hpp"
#include "filters/cache/store/durable/directory_key.hpp"

namespace nbdstack {
namespace {

constexpr const char* kIdentity = "identity";
constexpr const char* kNewIdentity = "identity.new";
constexpr const char* kLock = "lock";
constexpr std::string_view kPad = "pad=";  // up to the end of a sector
constexpr std::size_t kSector_bytes = 512;

template <typename AnyFile>
std::string read_all(const AnyFile& file) {
  std::string text(file.size_bytes(), '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

bool is_there(const Directory& directory, std::string_view name) {
  const std::vector<std::string> names = directory.names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool may_hold_content(std::string_view name) {
  return name == "data" || name == "data2" || name.starts_with("journal.");
}

bool is_store_file(std::string_view name) {
  return may_hold_content(name) || name.starts_with("index.") || name == CommitNote::kName;
}

// Returns whether the file belongs to a cache that was never claimed: nothing was written to it.
bool is_leftover(Directory& directory, const std::string& name) {
  if (name == kLock || name == kNewIdentity) return true;
  if (may_hold_content(name)) return directory.open(name)->size_bytes() == 0;
  return is_store_file(name);
}

void refuse_foreign_files(Directory& directory) {
  if (is_there(directory, kIdentity)) return;
  const std::vector<std::string> names = directory.names();
  const auto foreign = std::find_if_not(
      names.begin(), names.end(), [&](const auto& name) { return is_leftover(directory, name); });
  if (foreign == names.end()) return;
  const char* const what = is_store_file(*foreign)
                               ? "holds a cache without the file that says of what"
                               : "holds files that are no cache's";
  throw Error(ENOTEMPTY, fmt::format("cache-dir {} {}, such as {}: name an empty directory, or one "
                                     "that does not exist",
                                     directory.path(), what, *foreign));
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
    // On a full disk the holder's id is not recorded, but the lock works.
    if (!is_for_lack_of_room(error)) throw;
  }
  return lock;
}

}  // namespace

std::unique_ptr<CacheDirectory> CacheDirectory::acquire(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == -1 && errno != EEXIST) {
    throw system_error(errno, "create cache-dir {}", path);
  }
  auto files = std::make_unique<SystemDirectory>(path);
  refuse_foreign_files(*files);
  return std::make_unique<CacheDirectory>(std::move(files), take_lock(path));
}

CacheDirectory::CacheDirectory(std::unique_ptr<Directory> files, File lock)
    : files_(std::move(files)), lock_(std::move(lock)) {
  if (is_there(*files_, kIdentity)) {
    read_identity();
  } else {
    remove_empty_leftovers();
  }
}

void CacheDirectory::read_identity() {
  identity_ = parse_cache_identity(read_all(*files_->open(kIdentity)));
  if (identity_) {
    encryption_ = identity_->encryption;
    return;
  }
  throw Error(EINVAL, fmt::format("{}/{} is damaged or of another version: to start with an "
                                  "empty cache, remove the files in {}",
                                  path(), kIdentity, path()));
}

bool CacheDirectory::is_found_again() const {
  if (lock_.descriptor() == -1) return true;
  struct stat ours {};
  struct stat there {};
  return ::fstat(lock_.descriptor(), &ours) == 0 && ::stat(lock_.path().c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

// They may be of another block size.
void CacheDirectory::remove_empty_leftovers() {
  for (const std::string& name : names()) {
    if (is_store_file(name)) remove(name);
  }
}

std::optional<CacheIdentity> CacheDirectory::identity() const {
  const MutexLock lock(mutex_);
  return identity_;
}

std::shared_ptr<const UnitCipher> CacheDirectory::unlock(
    const std::optional<std::string>& passphrase, const ScryptCost& cost) {
  const MutexLock lock(mutex_);
  DirectoryKey key = nbdstack::unlock(identity_, passphrase, path(), cost);
  encryption_ = key.wrapped;
  return std::move(key.cipher);
}

CacheIdentity CacheDirectory::with_encryption(CacheIdentity identity) const {
  identity.encryption = encryption_;
  return identity;
}

void CacheDirectory::expect(const CacheIdentity& wanted) const {
  const auto found = identity();
  if (!found) return;
  const std::string differs = difference(*found, wanted);
  if (differs.empty()) return;
  throw Error(
      EINVAL,
      fmt::format("cache-dir {} is the cache of something else: {}. Name another directory. "
                  "\"nbdstack-cache show {}\" says what it holds that was never written "
                  "back, \"nbdstack-cache discard {}\" (or: remove the files in it) makes "
                  "it a new one",
                  path(), differs, path(), path()));
}

void CacheDirectory::claim(const CacheIdentity& wanted) {
  if (identity()) {
    expect(wanted);
  } else {
    record(wanted);
  }
}

// The file for the next identity exists already, with its storage, so that a server can be started
// on a full disk.
void CacheDirectory::write(const CacheIdentity& identity) {
  std::string text = to_text(identity);
  const std::size_t unpadded = text.size() + kPad.size() + 1;
  const std::size_t length = (unpadded + kSector_bytes - 1) / kSector_bytes * kSector_bytes;
  text += kPad;
  text.append(length - unpadded, '.');
  text += '\n';
  if (is_there(*files_, kNewIdentity) && open(kNewIdentity)->size_bytes() > length) {
    remove(kNewIdentity);
  }
  const auto write_new = [&] {
    const auto file = open(kNewIdentity);
    file->write_at(std::as_bytes(std::span(text)), 0);
    file->sync_data();
  };
  write_new();
  rename(kNewIdentity, kIdentity);
  sync();
  identity_ = identity;
  try {
    write_new();
  } catch (const Error& error) {
    if (!is_for_lack_of_room(error)) throw;
  }
}

void CacheDirectory::record(const CacheIdentity& identity) {
  const MutexLock lock(mutex_);
  pending_.reset();
  is_pending_ = false;
  const CacheIdentity whole = with_encryption(identity);
  if (identity_ != whole) write(whole);
}

void CacheDirectory::record_with_content(const CacheIdentity& identity) {
  const MutexLock lock(mutex_);
  pending_.reset();
  CacheIdentity whole = with_encryption(identity);
  if (identity_ != whole) pending_ = std::move(whole);
  is_pending_ = pending_.has_value();
}

void CacheDirectory::record_pending() {
  const MutexLock lock(mutex_);
  if (!pending_) return;
  write(*pending_);
  pending_.reset();
  is_pending_ = false;
}

// The identity is removed last: as long as it exists, the rest is not mistaken for other files.
void CacheDirectory::remove_all() {
  const MutexLock lock(mutex_);
  for (const std::string& name : names()) {
    if (is_store_file(name) || name == kNewIdentity) remove(name);
  }
  sync();
  remove(kIdentity);
  sync();
  identity_.reset();
  pending_.reset();
  encryption_.reset();
  is_pending_ = false;
}

}  // namespace nbdstack
