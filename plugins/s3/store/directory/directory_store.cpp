#include "plugins/s3/store/directory/directory_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/io/file.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"
#include "plugins/s3/store/directory/object_file.hpp"
#include "plugins/s3/store/directory/turn.hpp"

namespace nbdstack {
namespace {

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && !name.starts_with(kTemporaryPrefix) &&
         name.find('\0') == std::string_view::npos;
}

bool is_plain_path(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!is_plain_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

// Makes a directory and its missing parents durably. Another process may make them concurrently.
void make_directories(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == -1) {
    if (errno == EEXIST) return;
    if (errno != ENOENT) throw system_error(errno, "create directory {}", path);
    make_directories(parent_of(path));
    make_directories(path);
    return;
  }
  sync_directory(parent_of(path));
}

// A file under a temporary name, which the destructor removes unless it was moved to its place.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& directory)
      : path_(fmt::format("{}/{}XXXXXX", directory, kTemporaryPrefix)) {
    const int descriptor = ::mkostemp(path_.data(), O_CLOEXEC);
    if (descriptor == -1) throw system_error(errno, "create a file in {}", directory);
    file_ = File(descriptor, path_);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!moved_) ::unlink(path_.c_str());
  }

  [[nodiscard]] const File& file() const { return file_; }

  void replace(const std::string& target) {
    if (::rename(path_.c_str(), target.c_str()) == -1) {
      throw system_error(errno, "rename {} to {}", path_, target);
    }
    moved_ = true;
  }

  // As above, by way of a directory that others may take away. Then throws Error(ENOENT), and the
  // file stays in its place.
  void replace_by_way_of(const std::string& place, const std::string& target) const {
    const std::string between = fmt::format("{}/{}object", place, kTemporaryPrefix);
    if (::link(path_.c_str(), between.c_str()) == -1) {
      throw system_error(errno, "link {} to {}", path_, between);
    }
    if (::rename(between.c_str(), target.c_str()) == -1) {
      throw system_error(errno, "rename {} to {}", between, target);
    }
  }

  // Returns false if a file of that name already exists.
  [[nodiscard]] bool link_to(const std::string& target) const {
    if (::link(path_.c_str(), target.c_str()) == 0) return true;
    if (errno == EEXIST) return false;
    throw system_error(errno, "link {} to {}", path_, target);
  }

 private:
  std::string path_;
  File file_;
  bool moved_ = false;
};

ObjectInfo info_of(const ObjectFile& file) {
  return {.size_bytes = file.body_bytes(),
          .etag = file.etag(),
          .age = std::chrono::seconds(std::time(nullptr) - file.modified_at()),
          .attributes = {},
          .checksum = file.checksum_kind(),
          .whole_checksum = file.whole_checksum()};
}

// Returns nothing if there is no file.
std::optional<std::string> etag_at(const std::string& path) {
  const auto file = ObjectFile::open(path);
  return file.has_value() ? std::optional(file->etag()) : std::nullopt;
}

}  // namespace

DirectoryStore::DirectoryStore(const std::string& directory, const std::string& bucket,
                               MissingBucket missing, std::optional<WriteRight> right)
    : root_(directory + "/" + bucket), right_(std::move(right)) {
  if (!is_plain_name(bucket) || bucket.find('/') != std::string::npos) {
    throw Error(EINVAL, fmt::format("bucket: '{}' cannot be the name of a directory in {}", bucket,
                                    directory));
  }
  if (!is_directory(directory)) {
    throw Error(ENOENT, fmt::format("endpoint-url: {} is not an existing directory", directory));
  }
  if (missing == MissingBucket::create) make_directories(root_);
  if (!is_directory(root_)) {
    throw Error(ENOENT,
                fmt::format("bucket: there is no directory {}: give size= to create a volume "
                            "in it",
                            root_));
  }
  if (right_.has_value()) {
    const std::string volume = right_->key.empty() ? root_ : path_of(right_->key);
    make_directories(volume);
    staging_.emplace(volume);
  }
}

void DirectoryStore::check_right() const {
  if (!right_.has_value() || (right_->may_write() && staging_->exists())) return;
  throw Error(ESHUTDOWN,
              fmt::format("{}: nothing is changed any more, because this server's right to write "
                          "the volume has ended",
                          root_));
}

void DirectoryStore::remove_leftovers(std::chrono::seconds age) {
  std::vector<std::pair<std::string, std::time_t>> found;
  walk_temporary_files(root_, [&](const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) found.emplace_back(path, status.st_mtime);
  });
  if (found.empty()) return;
  const auto now = file_system_time();
  if (!now.has_value()) return;
  for (const auto& [path, modified_at] : found) {
    if (modified_at > *now - static_cast<std::time_t>(age.count())) continue;
    log::debug("removing {}, left behind by a crash", path);
    ::unlink(path.c_str());  // a leftover that stays does no harm
  }
}

// Returns the time that a file gets when it is written now. The clock of this host or of the file
// server may be wrong, so an age is the difference of two times of one clock.
std::optional<std::time_t> DirectoryStore::file_system_time() const {
  try {
    const TemporaryFile probe(root_);
    probe.file().write_at(std::as_bytes(std::span("now", 3)), 0);
    struct stat status {};
    if (::fstat(probe.file().descriptor(), &status) == 0) return status.st_mtime;
  } catch (const Error& error) {
    log::debug("{}: what a crash left behind stays: {}", root_, error.what());
  }
  return std::nullopt;
}

std::string DirectoryStore::path_of(const std::string& key) const {
  if (!is_plain_path(key)) {
    throw Error(EINVAL, fmt::format("'{}' cannot be an object in {}: its parts between '/' must be "
                                    "names, and none may be empty, '.', '..' or begin with '{}'",
                                    key, root_, kTemporaryPrefix));
  }
  return root_ + "/" + key;
}

// If the whole bucket is gone (its file system is no longer mounted), its objects are not absent
// but unreachable, and reading them as zeros would be wrong.
void DirectoryStore::check_bucket_exists() const {
  if (!is_directory(root_)) {
    throw Error(ENOENT, fmt::format("the bucket's directory {} is gone", root_));
  }
}

std::optional<ObjectFile> DirectoryStore::open(const std::string& key) const {
  auto file = ObjectFile::open(path_of(key));
  if (!file.has_value()) check_bucket_exists();
  return file;
}

bool DirectoryStore::get(const std::string& key, std::span<std::byte> body) {
  const auto file = open(key);
  if (!file.has_value()) return false;
  file->read_body(body);
  if (file->checksum_kind() == ChecksumKind::none) unverified_.say(path_of(key));
  return true;
}

bool DirectoryStore::get_range(const std::string& key, std::span<std::byte> body,
                               const ObjectPart& part) {
  const auto file = open(key);
  if (!file.has_value()) return false;
  if (!file->read_part(body, part, learned_)) unverified_.say(path_of(key));
  return true;
}

std::optional<ObjectInfo> DirectoryStore::fetch(const std::string& key,
                                                std::span<std::byte> buffer) {
  const auto file = open(key);
  if (!file.has_value()) return std::nullopt;
  if (file->body_bytes() > buffer.size()) {
    throw Error(EIO, fmt::format("{}: {} bytes long, at most {} were expected", path_of(key),
                                 file->body_bytes(), buffer.size()));
  }
  file->read_body(buffer.first(file->body_bytes()));
  return info_of(*file);
}

std::optional<ObjectInfo> DirectoryStore::look_up(const std::string& key) {
  const auto file = open(key);
  if (!file.has_value()) return std::nullopt;
  return info_of(*file);
}

// The owner of the volume has all turns: its successor takes the staging directory away from it.
void DirectoryStore::in_turn(const std::string& directory,
                             const std::function<void(const std::string& place)>& change) const {
  if (staging_.has_value()) return change(staging_->path());
  while (true) {
    const Turn turn(directory);
    try {
      return change(turn.place());
    } catch (const Error& error) {
      if (error.code() != ENOENT || !turn.is_lost()) throw;
    }
  }
}

PutOutcome DirectoryStore::put(const std::string& key, std::span<const std::byte> body,
                               const PutOptions& options) {
  const std::string target = path_of(key);
  if (!options.attributes.content_encoding.empty() || !options.attributes.metadata.empty()) {
    throw Error(ENOTSUP, fmt::format("{}: a directory keeps no content encoding and no metadata of "
                                     "an object, which this layout needs: use an S3 service",
                                     target));
  }
  const std::string directory = parent_of(target);
  if (!is_directory(directory)) {
    check_bucket_exists();
    make_directories(directory);
  }
  PutOutcome outcome;
  {
    check_right();
    TemporaryFile temporary(staging_.has_value() ? staging_->path() : directory);
    outcome.etag = write_object_file(temporary.file(), body);
    check_right();
    if (options.doubt != nullptr) options.doubt->is_open = true;  // until all is durable
    if (options.mode == PutMode::create_only) {
      if (!temporary.link_to(target)) outcome = {PutResult::exists, {}};
    } else if (options.mode == PutMode::if_match) {
      in_turn(directory, [&](const std::string& place) {
        if (options.etag.empty() || etag_at(target) != options.etag) {
          outcome = {PutResult::changed, {}};
        } else {
          staging_.has_value() ? temporary.replace(target)
                               : temporary.replace_by_way_of(place, target);
        }
      });
    } else {
      temporary.replace(target);
    }
  }
  // Done even if nothing was stored: what the caller now relies on must not vanish in a crash.
  sync_directory(directory);
  if (options.doubt != nullptr) options.doubt->is_open = false;
  return outcome;
}

std::vector<std::string> DirectoryStore::remove_matching(std::span<const Removal> removals,
                                                         Doubt& doubt) {
  std::vector<std::string> refused;
  std::set<std::string> changed;
  for (const Removal& each : removals) {
    const std::string path = path_of(each.key);
    const auto remove = [&](const std::string& place) {
      if (!each.etag.empty()) {
        const auto found = etag_at(path);
        if (!found.has_value()) return;
        if (*found != each.etag) return refused.push_back(each.key);
      }
      doubt.is_open = true;  // until all is durable
      remove_file(path, place, changed);
    };
    if (each.etag.empty()) {
      remove(staging_.has_value() ? staging_->path() : "");
    } else if (is_directory(parent_of(path))) {
      in_turn(parent_of(path), remove);
    }
  }
  if (changed.empty()) check_bucket_exists();
  for (const std::string& directory : changed) sync_directory(directory);
  doubt.is_open = false;
  return refused;
}

// Moves the file into `place` first, if there is one. It keeps its name there, and no two removals
// collide: the volume's owner never removes a file twice at the same time. Throws Error(ENOENT) if
// the place is gone.
void DirectoryStore::remove_file(const std::string& path, const std::string& place,
                                 std::set<std::string>& changed) const {
  check_right();
  std::string doomed = path;
  if (!place.empty()) {
    doomed = fmt::format("{}/{}", place, path.substr(path.rfind('/') + 1));
    if (::rename(path.c_str(), doomed.c_str()) == -1) {
      const int code = errno;
      check_right();
      if (!is_directory(place)) throw system_error(ENOENT, "remove {}", path);
      if (code == ENOENT || code == ENOTDIR || code == EISDIR) return;
      throw system_error(code, "remove {}", path);
    }
    changed.insert(parent_of(path));  // even if others take the place away now
  }
  if (::unlink(doomed.c_str()) == 0) {
    changed.insert(parent_of(path));
  } else if (errno != ENOENT && errno != ENOTDIR && errno != EISDIR) {
    throw system_error(errno, "remove {}", path);
  }
}

void DirectoryStore::list(const std::string& prefix, const std::string& start_after,
                          const std::function<bool(const ListedObject&)>& visit) {
  walk_objects(root_, {.prefix = prefix, .start_after = start_after}, [&](const std::string& key) {
    const auto file = ObjectFile::open(root_ + "/" + key);
    if (!file.has_value()) return true;  // removed since the directory was read
    return visit({.key = key, .size_bytes = file->body_bytes(), .etag = file->etag()});
  });
}

std::vector<std::string> DirectoryStore::directories_below(const std::string& prefix) {
  return directories_in(root_, prefix);
}

}  // namespace nbdstack
