#include "filters/md5/locked_md5_file.hpp"

#include <fcntl.h>

#include <filesystem>

#include "common/error.hpp"

namespace nbdstack {
namespace {

std::string directory_of(const std::string& path) {
  return std::filesystem::path(path).parent_path();
}

File lock_of(const std::string& path) {
  try {
    File lock = File::open(path, O_RDWR | O_CREAT);
    if (lock.try_lock()) return lock;
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("md5-file: {}", error.what()));
  }
  throw Error(EBUSY, fmt::format("md5-file {} is in use by another server: each disk needs a file "
                                 "of its own",
                                 path));
}

}  // namespace

LockedMd5File::LockedMd5File(const std::string& path)
    : path_(path),
      lock_(lock_of(path)),
      file_(SystemDirectory(directory_of(path)).open(std::filesystem::path(path).filename())),
      identity_(Md5File::identity_of(*file_)) {
  if (!identity_) sync_directory(directory_of(path));
}

std::unique_ptr<Md5File> LockedMd5File::open(const FileBinding& binding) {
  const auto store_it = [this](const Md5File::Identity& wanted) { store(wanted); };
  if (binding.is_new) return Md5File::make_new(file_, binding.identity, store_it);
  return std::make_unique<Md5File>(file_, *identity(), store_it);
}

void LockedMd5File::store(const Md5File::Identity& identity) {
  const MutexLock lock(mutex_);
  if (!identity_) {
    write_new_identity(*file_, identity);
  } else if (identity_->uuid == identity.uuid) {
    replace_identity(*file_, identity);
  } else {
    throw Error(EINVAL,
                fmt::format("md5-file {} has become another disk's: start a server with a file of "
                            "its own for this one",
                            path_));
  }
  identity_ = identity;
}

}  // namespace nbdstack
