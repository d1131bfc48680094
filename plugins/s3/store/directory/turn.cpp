#include "plugins/s3/store/directory/turn.hpp"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <tuple>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"
#include "plugins/s3/store/directory/temporary_directory.hpp"

namespace nbdstack {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookEvery{2};

// Tells one turn from the next: each is a directory of its own, made at a moment of its own. All is
// 0 if no process has the turn.
using Identity = std::tuple<std::uint64_t, std::int64_t, std::int64_t>;

Identity identity_of(const std::string& turn) {
  struct stat status {};
  if (::stat(turn.c_str(), &status) == -1) return {};
  return {status.st_ino, status.st_ctim.tv_sec, status.st_ctim.tv_nsec};
}

}  // namespace

Turn::Turn(const std::string& directory)
    : turn_(fmt::format("{}/{}turn", directory, kTemporaryPrefix)) {
  const std::string prepared = make_temporary_directory(directory, "turn");
  const std::string name = prepared.substr(prepared.rfind('/') + 1);
  place_ = fmt::format("{}/{}", turn_, name);
  try {
    if (::mkdir(fmt::format("{}/{}", prepared, name).c_str(), 0700) == -1) {
      throw system_error(errno, "create a directory in {}", prepared);
    }
    Identity seen;
    auto since = Clock::now();
    while (!try_take(prepared)) {
      const auto now = Clock::now();
      const Identity found = identity_of(turn_);
      if (found != seen) {
        seen = found;
        since = now;
      } else if (found != Identity() && now - since >= kLongest) {
        // If that is by now the turn of a process that has just begun, it begins anew.
        take_away(directory, turn_);
        log::debug("{}: the turn of a process that is stopped, or was killed, is taken away",
                   turn_);
      }
      std::this_thread::sleep_for(kLookEvery);
    }
  } catch (const Error&) {
    remove_if_possible(prepared);
    throw;
  }
}

Turn::~Turn() {
  remove_if_possible(place_);
  ::rmdir(turn_.c_str());  // unless another one has the turn by now
}

bool Turn::is_lost() const {
  return ::access(place_.c_str(), F_OK) == -1;
}

bool Turn::try_take(const std::string& prepared) const {
  if (::rename(prepared.c_str(), turn_.c_str()) == 0) return true;
  if (errno == ENOTEMPTY || errno == EEXIST) return false;
  throw system_error(errno, "rename {} to {}", prepared, turn_);
}

}  // namespace nbdstack
