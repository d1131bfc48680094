// The user that the server will be (nbdkit -u USER, -g GROUP), while it is still root.
//
// nbdkit changes its user after get_ready(), in which directories and files are made and opened. What
// root makes there, the server could not open again. So who needs that acts as the user that will:
// what is made belongs to that user, and what that user may not do ends the start with a message.
// (A file that is opened once, and kept open, may be root's.)
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/nbdkit/server_options.hpp"

namespace nbdstack {

// As they were given on nbdkit's command line; nothing: the option was not.
struct ServerUserOptions {
  std::optional<std::string> user;
  std::optional<std::string> group;

  explicit ServerUserOptions(const std::vector<GivenOption>& options);
};

// Runs `body` as that user. Where there is no such option, or the process is not root, just so:
// nbdkit itself complains then. No other thread opens files meanwhile. Throws what `body` throws, to
// which it adds the user where that may not do it, and Error(EINVAL) for a user or group that there
// is not.
void as_server_user(const std::function<void()>& body);

}  // namespace nbdstack
