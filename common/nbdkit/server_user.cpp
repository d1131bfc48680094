#include "common/nbdkit/server_user.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "common/error.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

// Reads them like nbdkit: as a name, or else as a number.
uid_t parse_user(const std::string& text) {
  if (const passwd* const found = ::getpwnam(text.c_str())) return found->pw_uid;
  uid_t number = 0;
  if (parse_number(text, number)) return number;
  throw Error(EINVAL, fmt::format("-u {}: there is no such user", text));
}

gid_t parse_group(const std::string& text) {
  if (const group* const found = ::getgrnam(text.c_str())) return found->gr_gid;
  gid_t number = 0;
  if (parse_number(text, number)) return number;
  throw Error(EINVAL, fmt::format("-g {}: there is no such group", text));
}

std::vector<gid_t> own_groups() {
  const int count = ::getgroups(0, nullptr);
  if (count == -1) throw system_error(errno, "getgroups");
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  if (::getgroups(count, groups.data()) == -1) throw system_error(errno, "getgroups");
  return groups;
}

class AsUser {
 public:
  explicit AsUser(const ServerUserOptions& options);
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
  ~AsUser() { change_back(); }

 private:
  void change_back() const;

  const gid_t former_group_;
  const std::vector<gid_t> former_groups_;
};

AsUser::AsUser(const ServerUserOptions& options)
    : former_group_(::getegid()), former_groups_(own_groups()) {
  const uid_t user = options.user.has_value() ? parse_user(*options.user) : 0;
  const gid_t group = options.group.has_value() ? parse_group(*options.group) : former_group_;
  const bool is_changed = (!options.group.has_value() || ::setgroups(1, &group) == 0) &&
                          ::setegid(group) == 0 && ::seteuid(user) == 0;
  if (is_changed) return;
  const int code = errno;
  change_back();
  throw system_error(code, "the server cannot act as the user of -u and the group of -g");
}

void AsUser::change_back() const {
  // The real user is root, and so this is permitted.
  const bool is_restored = ::seteuid(0) == 0 && ::setegid(former_group_) == 0 &&
                           ::setgroups(former_groups_.size(), former_groups_.data()) == 0;
  if (!is_restored) std::abort();
}

}  // namespace

ServerUserOptions::ServerUserOptions(const std::vector<GivenOption>& options) {
  for (const auto& [name, value] : options) {
    if (name == "u" || name == "user") user = value;
    if (name == "g" || name == "group") group = value;
  }
}

void make_directory_for_server_user(const std::string& path, unsigned mode) {
  const ServerUserOptions options(options_of_server());
  if (::geteuid() != 0 || !options.user.has_value()) return;
  const uid_t user = parse_user(*options.user);
  const gid_t group =
      options.group.has_value() ? parse_group(*options.group) : static_cast<gid_t>(-1);
  if (::mkdir(path.c_str(), mode) == -1) return;
  if (::lchown(path.c_str(), user, group) == 0) return;
  const int code = errno;
  ::rmdir(path.c_str());
  throw system_error(code, "give {} to user {}", path, *options.user);
}

void as_server_user(const std::function<void()>& body) {
  const ServerUserOptions options(options_of_server());
  if (::geteuid() != 0 || (!options.user.has_value() && !options.group.has_value())) {
    return body();
  }
  const AsUser user(options);
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != EACCES && error.code() != EPERM) throw;
    throw Error(error.code(),
                fmt::format("{} (as -u {} -g {}, which the server will be: give it to them)",
                            error.what(), options.user.value_or("root"),
                            options.group.value_or(fmt::format("{}", ::getegid()))));
  }
}

void make_readable_directory(const std::string& path) {
  constexpr unsigned kReadable = 0755;
  const std::size_t slash = path.rfind('/');
  std::error_code failure;
  if (slash != std::string::npos && slash != 0) {
    std::filesystem::create_directories(path.substr(0, slash), failure);
    if (failure) throw system_error(failure.value(), "mkdir {}", path.substr(0, slash));
  }
  make_directory_for_server_user(path, kReadable);
  if (::mkdir(path.c_str(), kReadable) == -1 && errno != EEXIST) {
    throw system_error(errno, "mkdir {}", path);
  }
  as_server_user([&] {
    if (::faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
      throw system_error(errno, "{}", path);
    }
  });
}

}  // namespace nbdstack
