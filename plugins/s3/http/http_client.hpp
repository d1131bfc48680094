// HTTP requests by libcurl, all through one bounded engine (http_engine.hpp), each by its caller's
// own thread.
//
// At most `connections` requests are in flight at a time, each on a connection of its own from its
// first byte to its last. Connections are kept and the same few are used again, so that a light
// load keeps few of them open. HTTP/1.1 is spoken, since HTTP/2 has nothing to gain on a connection
// of one request, and costs more; `http2` speaks it all the same, where it is offered. Proxies are
// those of libcurl's environment (http_proxy, https_proxy, no_proxy), unless `use_proxy` is false.
//
//   waiting      in two classes, which take turns; large requests leave a quarter of the places to
//                small ones (transfer_queue.hpp). Small: neither body nor buffer exceeds 64 KiB
//   late         a GET into a buffer is sent a second time when it takes longer than nearly all
//                of its like (transfer_hedging.hpp); one answer is seen, `buffer` holds its bytes
//   refused      503, 429, 509, 529 and silence lower the number in flight for a while
//                (in_flight_limit.hpp)
//   slow         large requests are as many as the line has a use for (line_concurrency.hpp)
//   throttled    bodies of all requests together keep the bandwidth limits (bandwidth_limit.hpp)
//
// What HTTP alone can decide is decided here: bodies never exceed their bounds, a body shorter than
// announced is a failure, redirects are not followed, and every wait ends:
//
//   connecting    after `connect_timeout`
//   silence       after `stall_timeout`: not a byte was acknowledged or came; a pause for the
//                 bandwidth's sake is none
//   a trickle     after `crawl_timeout` and one second for each kCrawl_bytes_s that there are to be
//                 carried: on the whole nothing is so slow that works
//   a request     when it has not got on for its time limit, the wait in the queue included, where
//                 others that get on do so for all; with TransferTime::whole, at that limit
//   all of them   within about a second once the request's `is_over` says so
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
  std::string ca_file;  // empty: the system's
  bool tls_verify = true;
  bool use_proxy = true;                     // where the environment names one
  bool http2 = false;                        // where the server offers it over TLS
  bool hedging = true;                       // late GETs are sent a second time
  std::uint64_t upload_limit_bytes_s = 0;    // of bodies, over all requests together; 0: none
  std::uint64_t download_limit_bytes_s = 0;  // the same
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

  // Called now and then by the caller's thread: true ends the request with ESHUTDOWN. May be empty.
  std::function<bool()> is_over;

  // Asked before the request is sent, and before each piece of `body`, by the caller's thread: no
  // ends it with ESHUTDOWN, and nothing more is sent. Empty: always yes.
  std::function<bool()> may_send;

  // Called by the caller's thread when bytes of it have moved. May be empty.
  std::function<void()> got_on;

  TransferTime time = TransferTime::of_silence;

  // A connection of its own, so that libcurl has no reason to send the request a second time behind
  // our back (it does where a kept-alive connection turns out to be dead).
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

// No whole answer came.
struct TransportFailure {
  enum class Kind : std::uint8_t {
    connection,  // refused, reset, cut short, name not resolved: may pass
    timeout,     // may pass
    too_long,    // the body exceeds the buffer: will be so again
    setup,       // certificate, CA file, URL: will be so again
    proxy,       // a proxy of the environment's does not let us through: will be so again
  };
  Kind kind = Kind::connection;
  std::string message;
  // All of the request may have gone out. What went out in part is never done.
  bool may_have_arrived = true;
  // How much of the time that it took does not count: something got on until then.
  Duration put_off{};
};

using HttpOutcome = std::variant<HttpResponse, TransportFailure>;

class HttpEngine;

class HttpClient {
 public:
  explicit HttpClient(const HttpClientConfig& config);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Ends what is under way, in bounded time.
  ~HttpClient();

  // Any thread. Throws Error(ESHUTDOWN) when the request is over. Afterwards the request's memory
  // is not used any more.
  HttpOutcome perform(const HttpRequest& request, Duration time_limit);

 private:
  const std::unique_ptr<HttpEngine> engine_;
};

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<WallTime> parse_http_date(const std::string& text);

}  // namespace nbdstack
