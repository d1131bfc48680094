#include "common/nbdkit/exit_status.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "common/log.hpp"

namespace nbdstack {
namespace {

void fail() {
  static_cast<void>(std::fflush(nullptr));
  ::_exit(EXIT_FAILURE);
}

}  // namespace

// nbdkit unloads this library before it ends, and exit handlers of a library run at its unloading.
// So the library is made to stay.
void fail_at_exit() {
  static bool registered = false;
  if (registered) return;
  Dl_info self{};
  const bool stays = ::dladdr(reinterpret_cast<void*>(&fail), &self) != 0 &&
                     ::dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
  registered = stays && std::atexit(fail) == 0;
  if (!registered) log::error("the exit status does not tell of the failure");
}

}  // namespace nbdstack
