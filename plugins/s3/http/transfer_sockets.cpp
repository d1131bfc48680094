#include "plugins/s3/http/transfer_sockets.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

// Two exchanges, each with a connection, one that it tries beside it (IPv4 and IPv6), and a
// resolver.
constexpr std::size_t kUsualSockets = 8;

}  // namespace

TransferSockets::TransferSockets() {
  wanted_.reserve(kUsualSockets);
  events_.reserve(kUsualSockets);
}

// Called by libcurl, which is C: an exception may not leave, and without these few bytes nothing
// else can go on either.
void TransferSockets::want(curl_socket_t socket, int what) noexcept {
  const auto found = std::find_if(wanted_.begin(), wanted_.end(),
                                  [socket](const pollfd& each) { return each.fd == socket; });
  unsigned events = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= POLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= POLLOUT;
  if (found != wanted_.end()) {
    if (events == 0) {
      wanted_.erase(found);
    } else {
      found->events = static_cast<short>(events);
    }
  } else if (events != 0) {
    wanted_.push_back({.fd = socket, .events = static_cast<short>(events), .revents = 0});
  }
}

std::span<const TransferSockets::Event> TransferSockets::wait(int timeout_ms) {
  events_.clear();
  if (::poll(wanted_.data(), wanted_.size(), timeout_ms) <= 0) return events_;
  for (const pollfd& each : wanted_) {
    const auto happened = static_cast<unsigned>(each.revents);
    // libcurl's next call on that socket shows it an error, or that the other end has closed it.
    const bool failed = (happened & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    const unsigned told = static_cast<unsigned>(each.events) & (failed ? ~0U : happened);
    const int bits = ((told & POLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                     ((told & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
    if (bits != 0) events_.push_back({each.fd, bits});
  }
  return events_;
}

}  // namespace nbdstack
