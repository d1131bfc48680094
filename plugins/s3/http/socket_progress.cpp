#include "plugins/s3/http/socket_progress.hpp"

// The kernel's header, not the C library's (netinet/tcp.h), whose tcp_info ends before the
// counters.
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>

namespace nbdstack {

std::optional<SocketProgress> socket_progress(int socket) {
  int unacknowledged = 0;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
      length < offsetof(tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt ||
      ioctl(socket, SIOCOUTQ, &unacknowledged) != 0) {
    return std::nullopt;
  }
  return SocketProgress{.moved_bytes = info.tcpi_bytes_acked + info.tcpi_bytes_received,
                        .unacknowledged_bytes = static_cast<std::uint64_t>(unacknowledged),
                        .round_trip = std::chrono::microseconds(info.tcpi_min_rtt),
                        .received_bytes = info.tcpi_bytes_received,
                        .receive_round_trip = std::chrono::microseconds(info.tcpi_rcv_rtt)};
}

std::uint64_t receive_window_bytes(int socket) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  getsockopt(socket, IPPROTO_TCP, TCP_WINDOW_CLAMP, &bytes, &length);
  return static_cast<std::uint64_t>(std::max(bytes, 0));
}

// The kernel has a lower bound of its own, about two kilobytes.
void limit_receive_window(int socket, std::uint64_t bytes) {
  const int limit =
      static_cast<int>(std::min<std::uint64_t>(bytes, std::numeric_limits<int>::max()));
  setsockopt(socket, IPPROTO_TCP, TCP_WINDOW_CLAMP, &limit, sizeof limit);
}

}  // namespace nbdstack
