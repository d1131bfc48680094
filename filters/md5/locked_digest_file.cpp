#include "filters/md5/locked_digest_file.hpp"

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

LockedDigestFile::LockedDigestFile(const std::string& path)
    : path_(path),
      lock_(lock_of(path)),
      file_(SystemDirectory(directory_of(path)).open(std::filesystem::path(path).filename())),
      identity_(DigestFile::identity_of(*file_)) {
  if (!identity_) sync_directory(directory_of(path));
}

std::unique_ptr<DigestFile> LockedDigestFile::claim(const std::string& export_name,
                                                    std::uint32_t block_size) {
  const std::lock_guard lock(mutex_);
  if (!identity_) identity_ = DigestFile::create(*file_, export_name, block_size);
  if (identity_->export_name != export_name) {
    throw Error(EINVAL,
                fmt::format("md5-file {} is for export \"{}\", and cannot serve \"{}\", too: "
                            "start a server with a file of its own for that",
                            path_, identity_->export_name, export_name));
  }
  return std::make_unique<DigestFile>(file_, *identity_);
}

}  // namespace nbdstack
