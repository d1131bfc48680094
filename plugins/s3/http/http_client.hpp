// Makes HTTP requests with libcurl, all through one bounded engine (http_engine.hpp), each on its
// caller's own thread.
//
// At most `connections` requests are in flight at a time, each on a connection of its own from its
// first byte to its last. The same few connections are kept and reused, so that a light load keeps
// few of them open. The protocol is HTTP/1.1: on a connection of one request HTTP/2 gains nothing,
// and costs more; `http2` selects it nevertheless, if the server offers it. Proxies are those of
// libcurl's environment (http_proxy, https_proxy, no_proxy), unless `use_proxy` is false.
//
//   waiting      in two classes, which take turns; large requests leave a quarter of the places to
//                small ones (transfer_queue.hpp). Small: neither body nor buffer exceeds 64 KiB
//   late         a GET into a buffer is sent a second time when it takes longer than nearly all
//                similar ones (transfer_hedging.hpp); `buffer` gets the bytes of one answer only
//   refused      503, 429, 509, 529 and silence lower the number in flight for a while
//                (in_flight_limit.hpp)
//   slow         the line decides how many large requests run (line_concurrency.hpp)
//   throttled    bodies of all requests together keep the bandwidth limits (bandwidth_limit.hpp)
//
// This handles what HTTP alone can decide: bodies never exceed their bounds, a body shorter than
// announced is a failure, redirects are not followed, and every wait ends:
//
//   connecting    after `connect_timeout`
//   silence       after `stall_timeout`, in which no byte was acknowledged or came; pauses for the
//                 bandwidth limit do not count
//   a trickle     after `crawl_timeout` and one second for each kCrawl_bytes_s of the bodies: a
//                 working line is not that slow on the whole
//   a request     after its time limit without progress, including the wait in the queue, in which
//                 any request's progress counts; with TransferTime::whole, at that limit
//   all of them   within about a second after the request's `is_over` returns true
//
// The caller interprets the answer.
//
// Nothing is connected before the first request. The only thread is libcurl's resolver, while a
// name is looked up.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "common/sync/clock.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/http/headers.hpp"
#include "plugins/s3/http/transfer_life.hpp"

namespace nbdstack {

inline constexpr std::size_t kCrawl_bytes_s = 1024;

struct HttpClientConfig {
  unsigned connections = 16;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{15};  // without a byte in either direction
  std::chrono::milliseconds crawl_timeout{60'000};
  std::string ca_file;  // the system's if empty
  bool tls_verify = true;
  bool use_proxy = true;                     // if the environment names one
  bool http2 = false;                        // if the server offers it over TLS
  bool hedging = true;                       // late GETs are sent a second time
  std::uint64_t upload_limit_bytes_s = 0;    // of the bodies of all requests together; none if 0
  std::uint64_t download_limit_bytes_s = 0;  // the same
};

struct HttpRequest {
  std::string method;  // GET, PUT, POST, DELETE
  std::string url;
  HeaderList headers;
  std::span<const std::byte> body;  // of PUT and POST

  // The body of an answer with `buffer_status` is stored in `buffer`, which it must not exceed. Of
  // every other body the first `text_limit` bytes are kept as text.
  int buffer_status = 0;
  std::span<std::byte> buffer;
  std::size_t text_limit = std::size_t{64} << 10U;

  // Called regularly by the caller's thread: true ends the request with ESHUTDOWN. May be empty.
  std::function<bool()> is_over;

  // Called before the request is sent, and before each piece of `body`, by the caller's thread:
  // false ends it with ESHUTDOWN, and nothing more is sent. If empty, sending is always allowed.
  std::function<bool()> may_send;

  // Called by the caller's thread when bytes of the request have moved. May be empty.
  std::function<void()> got_on;

  TransferTime time = TransferTime::of_silence;

  // Uses a new connection, so that libcurl has no reason to send the request a second time by
  // itself (it does if a kept-alive connection turns out to be dead).
  bool fresh_connection = false;
};

struct HttpResponse {
  int status = 0;
  HeaderList headers;  // names in lower case
  std::size_t buffered_bytes = 0;
  std::string text;
  bool text_cut = false;    // there was more than text_limit
  bool sent_twice = false;  // libcurl had sent it before, over a connection that was dead
  Duration put_off{};       // as below

  [[nodiscard]] std::optional<std::string> header(std::string_view lower_case_name) const;
};

// The failure of a request without a whole answer.
struct TransportFailure {
  enum class Kind : std::uint8_t {
    connection,  // refused, reset, cut short, name not resolved: transient
    timeout,     // transient
    too_long,    // the body exceeds the buffer: permanent
    setup,       // certificate, CA file, URL: permanent
    proxy,       // a proxy of the environment refuses us: permanent
  };
  Kind kind = Kind::connection;
  std::string message;
  // The whole request may have been sent. The service never executes one that was sent in part.
  bool may_have_arrived = true;
  // The part of the elapsed time that does not count, because there was progress until then.
  Duration put_off{};
};

using HttpOutcome = std::variant<HttpResponse, TransportFailure>;

class HttpEngine;

class HttpClient {
 public:
  explicit HttpClient(const HttpClientConfig& config);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Ends the running requests, in bounded time.
  ~HttpClient();

  // Any thread may call. Throws Error(ESHUTDOWN) when the request is over. Afterwards the request's
  // memory is not used any more.
  HttpOutcome perform(const HttpRequest& request, Duration time_limit);

 private:
  const std::unique_ptr<HttpEngine> engine_;
};

// Returns "Sun, 06 Nov 1994 08:49:37 GMT".
std::optional<WallTime> parse_http_date(const std::string& text);

}  // namespace nbdstack
