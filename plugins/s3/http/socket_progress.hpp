// The kernel's view of a TCP connection's progress (TCP_INFO and SIOCOUTQ, tcp(7)).
//
// Bytes that a program has written to a socket may not have been sent yet: on a slow line they stay
// in the socket's buffer for minutes, and if the other end is gone, for ever. Progress is what the
// other end has acknowledged, and what has come from it.
#pragma once

#include <cstdint>
#include <optional>

#include "common/sync/clock.hpp"

namespace nbdstack {

struct SocketProgress {
  std::uint64_t moved_bytes = 0;  // acknowledged and received since the connection was made
  std::uint64_t unacknowledged_bytes = 0;  // written, and sent or not
  Duration round_trip{};                   // the shortest that was seen
  std::uint64_t received_bytes = 0;        // in moved_bytes
  Duration receive_round_trip{};           // of recently received bytes; 0 if not known yet
};

// Returns nothing if it is no TCP socket, or not one any more.
std::optional<SocketProgress> socket_progress(int socket);

// Returns the most that the other end may send without an acknowledgement. It has a value if
// socket_progress() has one.
std::uint64_t receive_window_bytes(int socket);
void limit_receive_window(int socket, std::uint64_t bytes);

}  // namespace nbdstack
