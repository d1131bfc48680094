// What the kernel knows of how a TCP connection gets on (TCP_INFO and SIOCOUTQ, tcp(7)).
//
// What a program has written to a socket has not gone anywhere yet: on a slow line it lies in the
// socket's buffer for minutes, and where the other end is gone, for ever. Progress is what the
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
  Duration receive_round_trip{};           // of what comes of late; 0: not known yet
};

// Nothing: it is no TCP socket, or not one any more.
std::optional<SocketProgress> socket_progress(int socket);

// What the other end may send without an acknowledgement, at most. It has a value where
// socket_progress() has one.
std::uint64_t receive_window_bytes(int socket);
void limit_receive_window(int socket, std::uint64_t bytes);

}  // namespace nbdstack
