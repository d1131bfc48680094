#include "plugins/s3/transfer_sockets.hpp"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "common/error.hpp"

namespace nbdstack {

TransferSockets::TransferSockets()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wakeup_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Edge-triggered: every wake() is an event, and nobody needs to read the counter.
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = wakeup_}};
  if (epoll_ < 0 || wakeup_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeup_, &event) != 0) {
    const int code = errno;
    if (epoll_ >= 0) ::close(epoll_);
    if (wakeup_ >= 0) ::close(wakeup_);
    throw system_error(code, "HTTP engine");
  }
  events_.reserve(kEventsMax);
}

TransferSockets::~TransferSockets() {
  ::close(epoll_);
  ::close(wakeup_);
}

// Called by libcurl, which is C: an exception may not leave, and without these few bytes
// nothing else can go on either.
TransferSockets::Interest& TransferSockets::interest_of(curl_socket_t socket) noexcept {
  const auto index = static_cast<std::size_t>(socket);
  if (index >= interests_.size()) interests_.resize(index + 1);
  return interests_[index];
}

void TransferSockets::want(curl_socket_t socket, int what) {
  Interest& interest = interest_of(socket);
  interest.wanted = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) interest.wanted |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) interest.wanted |= EPOLLOUT;
  const std::uint32_t lacking = interest.wanted & ~interest.registered;
  const std::uint32_t needless = interest.registered & ~interest.wanted;
  const bool may_stay = interest.opened_here && (needless & EPOLLOUT) == 0;
  if (lacking != 0 || (needless != 0 && !may_stay)) correct(socket, interest);
}

void TransferSockets::correct(curl_socket_t socket, Interest& interest) const {
  epoll_event event{.events = interest.wanted, .data = {.fd = socket}};
  if (interest.wanted == 0) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
  } else if (interest.registered == 0) {
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  } else {
    epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event);
  }
  interest.registered = interest.wanted;
}

curl_socket_t TransferSockets::open(const curl_sockaddr& address) {
  const int opened = ::socket(address.family, address.socktype | SOCK_CLOEXEC, address.protocol);
  if (opened < 0) return CURL_SOCKET_BAD;
  interest_of(opened) = Interest{.opened_here = true};
  return opened;
}

int TransferSockets::close(curl_socket_t socket) {
  interest_of(socket) = Interest{};
  return ::close(socket);  // which takes it out of the epoll instance
}

std::span<const TransferSockets::Event> TransferSockets::wait(int timeout_ms) {
  events_.clear();
  const int count = epoll_wait(epoll_, ready_.data(), static_cast<int>(ready_.size()), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready_.at(static_cast<std::size_t>(i));
    const int socket = event.data.fd;
    if (socket == wakeup_) continue;
    Interest& interest = interest_of(socket);
    if ((event.events & ~interest.wanted & (EPOLLIN | EPOLLOUT)) != 0 || interest.wanted == 0) {
      correct(socket, interest);
    }
    // What libcurl does there next tells it of an error or of the other end's leaving.
    const std::uint32_t told =
        (event.events & (EPOLLERR | EPOLLHUP)) != 0 ? interest.wanted : event.events;
    const int bits = ((told & interest.wanted & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                     ((told & interest.wanted & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
    if (bits != 0) events_.push_back({socket, bits});
  }
  return events_;
}

void TransferSockets::wake() const {
  const std::uint64_t one = 1;
  // It fails only where so many wake-ups are pending that one more would change nothing.
  [[maybe_unused]] const ssize_t written = ::write(wakeup_, &one, sizeof one);
}

}  // namespace nbdstack
