#include "plugins/s3/aws/replace_file.hpp"

#include <fcntl.h>
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers): realpath and mkostemp are POSIX's
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <span>

#include "common/error.hpp"
#include "common/io/file.hpp"

namespace nbdstack {
namespace {

std::string without_links(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), free);
  if (real == nullptr) throw system_error(errno, "{}", path);
  return real.get();
}

// A new file beside `path`, which the destructor removes unless it has replaced `path`.
class Replacement {
 public:
  explicit Replacement(std::string path) : path_(std::move(path)), name_(path_ + ".XXXXXX") {
    const int descriptor = mkostemp(name_.data(), O_CLOEXEC);
    if (descriptor == -1) throw system_error(errno, "{}", name_);
    file_ = File(descriptor, name_);
    try {
      take_owner();
    } catch (...) {
      unlink(name_.c_str());
      throw;
    }
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement() {
    if (!in_place_) unlink(name_.c_str());
  }

  void put(const std::string& content) {
    file_.write_at(std::as_bytes(std::span(content)), 0);
    file_.sync_data();
    if (rename(name_.c_str(), path_.c_str()) == -1) throw system_error(errno, "{}", path_);
    in_place_ = true;
  }

 private:
  void take_owner() const {
    struct stat old {};
    struct stat own {};
    if (stat(path_.c_str(), &old) == -1) throw system_error(errno, "{}", path_);
    if (fstat(file_.descriptor(), &own) == -1) throw system_error(errno, "{}", name_);
    const bool is_same = old.st_uid == own.st_uid && old.st_gid == own.st_gid;
    if (!is_same && fchown(file_.descriptor(), old.st_uid, old.st_gid) == -1) {
      throw system_error(errno, "{}: it is another user's", path_);
    }
  }

  const std::string path_;
  std::string name_;
  File file_;
  bool in_place_ = false;
};

}  // namespace

void replace_file(const std::string& path, const std::function<std::string()>& make) {
  Replacement replacement(without_links(path));
  replacement.put(make());
}

}  // namespace nbdstack
