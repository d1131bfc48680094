// The user that the server is going to be (nbdkit -u USER, -g GROUP), while it is still root.
//
// nbdkit changes its user after get_ready(), which makes and opens directories and files. The
// server could not open root's files again. So such code acts as the later user: the user owns what
// it makes, and an operation that the user may not perform ends the start with a message. (A file
// that is opened once, and kept open, may be root's.)
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/nbdkit/server_options.hpp"

namespace nbdstack {

// As given on nbdkit's command line; empty if the option was not.
struct ServerUserOptions {
  std::optional<std::string> user;
  std::optional<std::string> group;

  explicit ServerUserOptions(const std::vector<GivenOption>& options);
};

// Makes a directory that only root may make, such as one in /var/cache, and gives it to that user.
// Does nothing if there is no such option, if the process is not root, and if the directory exists
// or cannot be made: the code that opens it as that user reports what is wrong then. Throws Error
// if it cannot be given away, and for an unknown user or group.
void make_directory_for_server_user(const std::string& path, unsigned mode = 0700);

// Runs `body` as that user; or as it is, if there is no such option or the process is not root,
// because nbdkit itself complains then. No other thread opens files meanwhile. Exceptions of `body`
// propagate, with the user's name if the user lacks the right; throws Error(EINVAL) for an unknown
// user or group.
void as_server_user(const std::function<void()>& body);

// Makes a directory that all users may read, and those above it, if they do not exist. New ones
// above belong to the present user, and the directory itself to that later one. Throws Error if the
// later user may not write in it.
void make_readable_directory(const std::string& path);

}  // namespace nbdstack
