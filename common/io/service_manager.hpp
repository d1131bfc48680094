// Notifies the service manager that started this process (systemd), as sd_notify(3) does.
//
// The manager listens on the socket that $NOTIFY_SOCKET names; without that variable there is no
// manager, and nothing is sent. A message that cannot be sent is lost: it is advice.
#pragma once

#include <string_view>

namespace nbdstack {

[[nodiscard]] bool has_service_manager();

// Lines of text such as "STOPPING=1".
void tell_service_manager(std::string_view message);

}  // namespace nbdstack
