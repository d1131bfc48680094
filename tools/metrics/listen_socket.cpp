#include "tools/metrics/listen_socket.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/command/usage_error.hpp"
#include "common/error.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr int kWaitingClients = 16;
constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START of systemd
constexpr const char* kLoopback = "127.0.0.1";
constexpr std::string_view kUnix = "unix:";

UsageError bad_place(const std::string& place) {
  return UsageError(
      fmt::format("--listen={} is not a place to listen on: PORT (on {}), "
                  "ADDRESS:PORT or unix:PATH",
                  place, kLoopback));
}

// Returns where a socket of an IP address listens, with the port that it was given.
std::string url_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(socket, any, &length) == -1 ||
      ::getnameinfo(any, length, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "an inherited socket";
  }
  if (address.ss_family == AF_UNIX) return "an inherited Unix socket";
  const bool is_v6 = address.ss_family == AF_INET6;
  return fmt::format("http://{}{}{}:{}/metrics", is_v6 ? "[" : "", host.data(), is_v6 ? "]" : "",
                     port.data());
}

// A socket that a killed process has left refuses connections.
bool is_left_behind(const sockaddr_un& address) {
  const File probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "a Unix socket");
  return ::connect(probe.descriptor(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address) == -1 &&
         errno == ECONNREFUSED;
}

void listen_on(const File& socket, const sockaddr* address, socklen_t length) {
  if (::bind(socket.descriptor(), address, length) == -1 ||
      ::listen(socket.descriptor(), kWaitingClients) == -1) {
    throw system_error(errno, "listen on {}", socket.path());
  }
}

}  // namespace

ListenSocket ListenSocket::open(const std::string& place) {
  if (place.starts_with(kUnix)) return open_unix(place.substr(kUnix.size()));
  const std::size_t colon = place.rfind(':');
  std::string address = colon == std::string::npos ? kLoopback : place.substr(0, colon);
  const std::string port = colon == std::string::npos ? place : place.substr(colon + 1);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  std::uint16_t number = 0;
  // getaddrinfo(3) takes "*" for all addresses.
  if (address.empty() || address == "*" || !parse_number(port, number)) throw bad_place(place);
  return open_tcp(address, port);
}

ListenSocket ListenSocket::open_tcp(const std::string& address, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), port.c_str(), &hints, &found) != 0) {
    throw bad_place(fmt::format("{}:{}", address, port));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> one(found, &::freeaddrinfo);
  File socket(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
              fmt::format("{}:{}", address, port));
  const int on = 1;
  if (!socket.is_open() ||
      ::setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1) {
    throw system_error(errno, "make a socket for {}", socket.path());
  }
  listen_on(socket, one->ai_addr, one->ai_addrlen);
  std::string url = url_of(socket.descriptor());
  return {std::move(socket), std::move(url), ""};
}

ListenSocket ListenSocket::open_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) throw bad_place("unix:" + path);
  std::memcpy(static_cast<char*>(address.sun_path), path.data(), path.size());
  File socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
  if (!socket.is_open()) throw system_error(errno, "make a socket for {}", path);
  if (is_left_behind(address)) ::unlink(path.c_str());
  listen_on(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return {std::move(socket), path, path};
}

std::optional<ListenSocket> ListenSocket::inherited() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const sockets = std::getenv("LISTEN_FDS");
  if (pid == nullptr || sockets == nullptr || std::to_string(::getpid()) != pid) return {};
  if (std::string_view(sockets) != "1") {
    throw Error(EINVAL, fmt::format("LISTEN_FDS={}: one socket is wanted, and no more", sockets));
  }
  return ListenSocket(File(kFirstInherited, "an inherited socket"), url_of(kFirstInherited), "");
}

ListenSocket::~ListenSocket() {
  if (socket_.is_open() && !unlink_path_.empty()) ::unlink(unlink_path_.c_str());
}

}  // namespace nbdstack
