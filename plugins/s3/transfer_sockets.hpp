// The sockets that libcurl wants to hear of, in one epoll instance.
//
// libcurl says for every request when it begins and ends to care for a socket; on a kept-alive
// connection that would be two system calls a request. So a socket that libcurl has lost interest
// in stays registered for reading until something happens there, which mostly is the answer to the
// connection's next request. This needs to know when a socket is closed, so it is done only for
// those that were opened here; libcurl has others (its resolver's), which are taken out at once.
//
//   registered   wanted      an event arrives
//   reads        reads       libcurl is told
//   reads        nothing     (a connection at rest) it is taken out of the epoll instance; libcurl
//                            looks at a connection itself before it uses it again
//   writes ...   less        corrected at once: a socket is nearly always writable
//
// wake() may be called by any thread; everything else belongs to the engine's thread.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace nbdstack {

class TransferSockets {
 public:
  struct Event {
    curl_socket_t socket;
    int bits;  // CURL_CSELECT_*
  };

  // Throws Error when the process may open no more files.
  TransferSockets();
  TransferSockets(const TransferSockets&) = delete;
  TransferSockets& operator=(const TransferSockets&) = delete;
  ~TransferSockets();

  // A connection's socket begins and ends here. CURL_SOCKET_BAD where there can be none.
  curl_socket_t open(const curl_sockaddr& address);
  int close(curl_socket_t socket);

  // libcurl wants to hear of CURL_POLL_*.
  void want(curl_socket_t socket, int what);

  // Waits for events or wake(). The events are valid until the next call.
  std::span<const Event> wait(int timeout_ms);
  void wake() const;

 private:
  static constexpr std::size_t kEventsMax = 128;

  struct Interest {
    std::uint32_t registered = 0;  // EPOLL*
    std::uint32_t wanted = 0;
    bool opened_here = false;
  };

  Interest& interest_of(curl_socket_t socket) noexcept;
  void correct(curl_socket_t socket, Interest& interest) const;

  int epoll_;
  int wakeup_;                       // an eventfd
  std::vector<Interest> interests_;  // by socket number
  std::array<epoll_event, kEventsMax> ready_{};
  std::vector<Event> events_;
};

}  // namespace nbdstack
