// A small HTTP server (GNU libmicrohttpd) that answers GET /metrics, and nothing else, in one
// thread.
//
// A client is disconnected after kClientSeconds without progress, and kMostClients are served at a
// time: a client that connects and sends nothing keeps others waiting for a short while only.
#pragma once

#include <functional>
#include <string>

#include "tools/metrics/listen_socket.hpp"

struct MHD_Daemon;

namespace nbdstack {

class MetricsServer {
 public:
  static constexpr unsigned kMostClients = 16;
  static constexpr unsigned kClientSeconds = 10;
  // Returns the text. Its exceptions become an answer of 500 with the message.
  using MakeText = std::function<std::string()>;

  // Serves until it is destroyed; `socket` outlives it. Throws Error.
  MetricsServer(const ListenSocket& socket, MakeText make_text);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  ~MetricsServer();

  [[nodiscard]] std::string text() const { return make_text_(); }

 private:
  const MakeText make_text_;
  MHD_Daemon* daemon_;
};

}  // namespace nbdstack
