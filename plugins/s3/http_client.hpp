// HTTP/1.1 requests by libcurl, over a bounded pool of kept-alive connections.
//
// A request holds one connection from its first byte to its last. When all are taken, callers wait
// in the order they came. The most recently used connection is given out first, so that a light
// load keeps few of them open.
//
// What HTTP alone can decide is decided here: bodies never exceed their bounds, a body shorter than
// announced is a failure, redirects are not followed, and every wait ends - connecting after
// `connect_timeout`, silence after `stall_timeout`, the whole request at its own limit, and all of
// them within about a second once the request's `is_over` says so. What an answer means is the
// caller's business.
//
// Nothing is connected, and no thread started, before the first request.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/sync/clock.hpp"
#include "plugins/s3/signing.hpp"

namespace nbdstack {

struct HttpClientConfig {
  unsigned connections = 16;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{15};  // without a byte in either direction
  std::string ca_file;                     // empty: the system's
  bool tls_verify = true;
};

struct HttpRequest {
  std::string method;  // GET, PUT, POST, DELETE
  std::string url;
  HeaderList headers;
  std::span<const std::byte> body;  // of PUT and POST

  // The body of an answer with `buffer_status` goes to `buffer`, which it must not exceed. Every
  // other body is kept as text, the first `text_limit` bytes of it.
  int buffer_status = 0;
  std::span<std::byte> buffer;
  std::size_t text_limit = std::size_t{64} << 10U;

  // Asked now and then while the request lasts: yes ends it with ESHUTDOWN. Empty: never.
  std::function<bool()> is_over;

  // A connection of its own, so that libcurl has no reason to send the request a second time behind
  // our back (it does where a kept-alive connection turns out to be dead).
  bool fresh_connection = false;
};

struct HttpResponse {
  int status = 0;
  HeaderList headers;  // names in lower case
  std::size_t buffered_bytes = 0;
  std::string text;
  bool text_cut = false;  // there was more than text_limit

  [[nodiscard]] std::optional<std::string> header(std::string_view lower_case_name) const;
};

// No whole answer came.
struct TransportFailure {
  enum class Kind : std::uint8_t {
    connection,  // refused, reset, cut short, name not resolved: may pass
    timeout,     // may pass
    too_long,    // the body exceeds the buffer: will be so again
    setup,       // certificate, CA file, URL: will be so again
  };
  Kind kind = Kind::connection;
  std::string message;
};

using HttpOutcome = std::variant<HttpResponse, TransportFailure>;

class HttpClient {
 public:
  explicit HttpClient(HttpClientConfig config);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  // Any thread. The wait for a connection counts towards `time_limit`. Throws Error(ESHUTDOWN) when
  // the request is over.
  HttpOutcome perform(const HttpRequest& request, Duration time_limit);

 private:
  class Connection;
  class Lease;
  struct Waiter;

  std::unique_ptr<Connection> acquire(TimePoint deadline);
  void release(std::unique_ptr<Connection> connection);

  const HttpClientConfig config_;
  std::mutex mutex_;                               // protects what follows
  std::vector<std::unique_ptr<Connection>> idle_;  // the last was used last
  unsigned connections_ = 0;                       // idle and in use, at most config_.connections
  std::deque<Waiter*> waiters_;                    // first come, first served
};

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<WallTime> parse_http_date(const std::string& text);

}  // namespace nbdstack
