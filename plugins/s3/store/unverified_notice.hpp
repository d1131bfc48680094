// Logs once that an object without a checksum is being read.
#pragma once

#include <atomic>
#include <string>

#include "common/log.hpp"

namespace nbdstack {

class UnverifiedNotice {
 public:
  void say(const std::string& object) {
    if (said_.load(std::memory_order_relaxed) || said_.exchange(true)) return;
    log::error(
        "{}: the object carries no checksum that can be verified, because another program stored "
        "it or copied it without its metadata: what is read of it, and of others like it, is not "
        "verified. nbdstack-s3 check counts such objects, and with --renew gives checksums to "
        "those "
        "of a volume that is not s3backer's",
        object);
  }

 private:
  std::atomic<bool> said_{false};
};

}  // namespace nbdstack
