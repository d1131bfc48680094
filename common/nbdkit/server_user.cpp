#include "common/nbdkit/server_user.hpp"

#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>

#include "common/error.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

// nbdkit 1.32's own: without all of them an abbreviation, or the value of another option, would be
// taken for something else.
constexpr const char* kShortOptions = "+46D:e:fg:i:nop:P:rst:u:U:vV";
const std::array<option, 47> kLongOptions{{
    {"help", no_argument, nullptr, 0},
    {"ipv4-only", no_argument, nullptr, '4'},
    {"ipv6-only", no_argument, nullptr, '6'},
    {"dump-config", no_argument, nullptr, 0},
    {"dump-plugin", no_argument, nullptr, 0},
    {"long-options", no_argument, nullptr, 0},
    {"short-options", no_argument, nullptr, 0},
    {"exit-with-parent", no_argument, nullptr, 0},
    {"filter", required_argument, nullptr, 0},
    {"log", required_argument, nullptr, 0},
    {"mask-handshake", required_argument, nullptr, 0},
    {"no-sr", no_argument, nullptr, 0},
    {"no-structured-replies", no_argument, nullptr, 0},
    {"run", required_argument, nullptr, 0},
    {"selinux-label", required_argument, nullptr, 0},
    {"swap", no_argument, nullptr, 0},
    {"tls", required_argument, nullptr, 0},
    {"tls-certificates", required_argument, nullptr, 0},
    {"tls-psk", required_argument, nullptr, 0},
    {"tls-verify-peer", no_argument, nullptr, 0},
    {"vsock", no_argument, nullptr, 0},
    {"debug", required_argument, nullptr, 'D'},
    {"export", required_argument, nullptr, 'e'},
    {"export-name", required_argument, nullptr, 'e'},
    {"exportname", required_argument, nullptr, 'e'},
    {"foreground", no_argument, nullptr, 'f'},
    {"no-fork", no_argument, nullptr, 'f'},
    {"group", required_argument, nullptr, 'g'},
    {"ip-addr", required_argument, nullptr, 'i'},
    {"ipaddr", required_argument, nullptr, 'i'},
    {"new-style", no_argument, nullptr, 'n'},
    {"newstyle", no_argument, nullptr, 'n'},
    {"old-style", no_argument, nullptr, 'o'},
    {"oldstyle", no_argument, nullptr, 'o'},
    {"pid-file", required_argument, nullptr, 'P'},
    {"pidfile", required_argument, nullptr, 'P'},
    {"port", required_argument, nullptr, 'p'},
    {"read-only", no_argument, nullptr, 'r'},
    {"readonly", no_argument, nullptr, 'r'},
    {"single", no_argument, nullptr, 's'},
    {"stdin", no_argument, nullptr, 's'},
    {"threads", required_argument, nullptr, 't'},
    {"user", required_argument, nullptr, 'u'},
    {"unix", required_argument, nullptr, 'U'},
    {"verbose", no_argument, nullptr, 'v'},
    {"version", no_argument, nullptr, 'V'},
    {nullptr, 0, nullptr, 0},
}};

// As nbdkit reads them: a name, or else a number.
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
  // The real user is root, who may.
  const bool is_restored = ::seteuid(0) == 0 && ::setegid(former_group_) == 0 &&
                           ::setgroups(former_groups_.size(), former_groups_.data()) == 0;
  if (!is_restored) std::abort();
}

}  // namespace

ServerUserOptions ServerUserOptions::parse(const std::vector<std::string>& words) {
  ServerUserOptions options;
  std::vector<std::string> copies = words;
  std::vector<char*> arguments;
  arguments.reserve(copies.size() + 1);
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int former_errors = opterr;
  opterr = 0;
  optind = 0;  // begin anew: nbdkit has read its options by now
  const int count = static_cast<int>(copies.size());
  int found = 0;
  while ((found = ::getopt_long(count, arguments.data(), kShortOptions, kLongOptions.data(),
                                nullptr)) != -1) {
    if (found == 'u') options.user = optarg;
    if (found == 'g') options.group = optarg;
  }
  opterr = former_errors;
  return options;
}

ServerUserOptions ServerUserOptions::of_process() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  std::string word;
  while (std::getline(file, word, '\0')) words.push_back(word);
  return words.empty() ? ServerUserOptions{} : parse(words);
}

void as_server_user(const std::function<void()>& body) {
  const ServerUserOptions options = ServerUserOptions::of_process();
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

}  // namespace nbdstack
