// What this process tells the service manager that started it (systemd), as sd_notify(3) does.
//
// The manager listens where $NOTIFY_SOCKET says; without that there is none, and nothing happens.
// A message that cannot be sent is lost: it is advice.
#pragma once

#include <string_view>

namespace nbdstack {

[[nodiscard]] bool has_service_manager();

// Lines of text such as "STOPPING=1".
void tell_service_manager(std::string_view message);

}  // namespace nbdstack
