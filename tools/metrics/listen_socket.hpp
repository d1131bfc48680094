// The socket on which nbdstack-metrics listens.
//
//   PORT           127.0.0.1: only programs of this machine reach it
//   ADDRESS:PORT   that address, as it is written: 0.0.0.0:9180, [::]:9180
//   unix:PATH      a Unix socket, removed when it is closed
//   (none)         the socket that the service manager has passed on ($LISTEN_FDS)
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "common/io/file.hpp"

namespace nbdstack {

class ListenSocket {
 public:
  // Throws UsageError if `place` is none of these, or Error.
  static ListenSocket open(const std::string& place);
  // Returns nothing if the service manager has not passed one on. Throws Error if it passed
  // several.
  static std::optional<ListenSocket> inherited();

  ListenSocket(ListenSocket&& other) noexcept = default;
  ListenSocket& operator=(ListenSocket&& other) noexcept = default;
  ~ListenSocket();

  [[nodiscard]] int descriptor() const { return socket_.descriptor(); }
  // Returns its address: a URL, or the path of a Unix socket.
  [[nodiscard]] const std::string& place() const { return place_; }

 private:
  ListenSocket(File socket, std::string place, std::string unlink_path)
      : socket_(std::move(socket)),
        place_(std::move(place)),
        unlink_path_(std::move(unlink_path)) {}
  static ListenSocket open_unix(const std::string& path);
  static ListenSocket open_tcp(const std::string& address, const std::string& port);

  File socket_;
  std::string place_;
  std::string unlink_path_;  // empty if it is no Unix socket
};

}  // namespace nbdstack
