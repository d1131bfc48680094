#include "tools/metrics/metrics_server.hpp"

#include <fcntl.h>
#include <microhttpd.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kMostRequestBytes = 32U << 10U;
constexpr const char* kTextFormat = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kPlain = "text/plain; charset=utf-8";

MHD_Result answer(MHD_Connection* connection, unsigned status, const std::string& text,
                  const char* type) {
  const std::unique_ptr<MHD_Response, void (*)(MHD_Response*)> response(
      MHD_create_response_from_buffer(text.size(), const_cast<char*>(text.data()),
                                      MHD_RESPMEM_MUST_COPY),
      &MHD_destroy_response);
  if (response == nullptr) return MHD_NO;  // closes the connection
  MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, type);
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_ALLOW, MHD_HTTP_METHOD_GET);
  }
  return MHD_queue_response(connection, status, response.get());
}

// No exception may reach the library, which is C.
MHD_Result handle(void* server, MHD_Connection* connection, const char* url, const char* method,
                  const char* /*version*/, const char* /*upload*/, std::size_t* /*upload_bytes*/,
                  void** /*state*/) noexcept {
  try {
    if (std::string_view(url) != "/metrics") {
      return answer(connection, MHD_HTTP_NOT_FOUND, "There is /metrics only.\n", kPlain);
    }
    if (std::string_view(method) != MHD_HTTP_METHOD_GET) {
      return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "There is GET only.\n", kPlain);
    }
    return answer(connection, MHD_HTTP_OK, static_cast<MetricsServer*>(server)->text(),
                  kTextFormat);
  } catch (const std::exception& error) {
    return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, error.what(), kPlain);
  }
}

}  // namespace

// The library closes the socket that it is given.
MetricsServer::MetricsServer(const ListenSocket& socket, MakeText make_text)
    : make_text_(std::move(make_text)),
      daemon_(MHD_start_daemon(
          MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, nullptr, nullptr, &handle, this,
          MHD_OPTION_LISTEN_SOCKET, ::fcntl(socket.descriptor(), F_DUPFD_CLOEXEC, 0),
          MHD_OPTION_CONNECTION_LIMIT, kMostClients, MHD_OPTION_CONNECTION_TIMEOUT, kClientSeconds,
          MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMostRequestBytes, MHD_OPTION_END)) {
  if (daemon_ == nullptr) throw system_error(errno, "serve {}", socket.place());
}

MetricsServer::~MetricsServer() {
  MHD_stop_daemon(daemon_);
}

}  // namespace nbdstack
