// The sockets that libcurl observes for one lane: usually one or two, and so poll(2), which needs
// no system call when libcurl begins or ends observing one.
//
// Not thread-safe: its owner is the lane.
#pragma once

#include <curl/curl.h>
#include <poll.h>

#include <span>
#include <vector>

namespace nbdstack {

class TransferSockets {
 public:
  struct Event {
    curl_socket_t socket;
    int bits;  // CURL_CSELECT_*
  };

  TransferSockets();

  // Called when libcurl wants events CURL_POLL_*.
  void want(curl_socket_t socket, int what) noexcept;

  // Waits for events. They are valid until the next call.
  std::span<const Event> wait(int timeout_ms);

 private:
  std::vector<pollfd> wanted_;
  std::vector<Event> events_;
};

}  // namespace nbdstack
