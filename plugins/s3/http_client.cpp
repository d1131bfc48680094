#include "plugins/s3/http_client.hpp"

#include <curl/curl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using Kind = TransportFailure::Kind;

// Connections that carry megabyte objects: fewer, larger pieces.
constexpr long kBufferBytes = 256L << 10U;
// libcurl reports progress for every piece of a body, and the answer takes another thread's look at
// the server (common/nbdkit/server_stop.hpp).
constexpr Duration kAskEvery = std::chrono::milliseconds(100);
constexpr std::size_t kHeadersLimitBytes = std::size_t{64} << 10U;

void initialise_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    throw Error(EIO, fmt::format("libcurl does not start: {}", curl_easy_strerror(code)));
  }
}

// An option that libcurl refuses is a mistake of ours or a libcurl built without TLS.
template <typename Value>
void set(CURL* handle, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(handle, option, value);
  if (code != CURLE_OK) {
    throw Error(EINVAL, fmt::format("libcurl refuses option {}: {}", static_cast<int>(option),
                                    curl_easy_strerror(code)));
  }
}

class HeaderSlist {
 public:
  explicit HeaderSlist(const HeaderList& headers) {
    for (const auto& [name, value] : headers) append(fmt::format("{}: {}", name, value));
    // An empty value takes back what libcurl would send by itself.
    append("Expect:");
    append("Content-Type:", headers, "content-type");
  }
  HeaderSlist(const HeaderSlist&) = delete;
  HeaderSlist& operator=(const HeaderSlist&) = delete;
  ~HeaderSlist() { curl_slist_free_all(list_); }
  [[nodiscard]] curl_slist* get() const { return list_; }

 private:
  void append(const char* line, const HeaderList& headers, std::string_view unless) {
    const bool given = std::any_of(headers.begin(), headers.end(),
                                   [&](const auto& header) { return header.first == unless; });
    if (!given) append(line);
  }
  void append(const std::string& line) {
    curl_slist* const longer = curl_slist_append(list_, line.c_str());
    if (longer == nullptr) throw Error(ENOMEM, "out of memory for an HTTP header");
    list_ = longer;
  }

  curl_slist* list_ = nullptr;
};

// What libcurl's callbacks write to during one request.
struct Transfer {
  const curl_socket_t* socket = nullptr;  // the connection's, where it was used before
  const HttpRequest* request = nullptr;
  TimePoint asked_at{};  // whether the request is over
  HttpResponse response;
  std::size_t header_bytes = 0;
  bool too_long = false;
};

// A server that leaves Nagle's algorithm on (Ceph RGW does) sends a small body only when its
// headers are acknowledged, which Linux delays by 40 ms on a connection in steady use: 46 ms for
// each ranged GET of 4 KiB were measured without this.
void acknowledge_now(curl_socket_t socket) {
  if (socket == CURL_SOCKET_BAD) return;
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

std::size_t on_header(const char* data, std::size_t size, std::size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const std::string_view line(data, size * count);
  transfer.header_bytes += line.size();
  if (transfer.header_bytes > kHeadersLimitBytes) return 0;
  if (line.starts_with("HTTP/")) {
    // A new answer: what came before was an interim one (100 Continue).
    transfer.response = HttpResponse{};
    const std::size_t blank = line.find(' ');
    if (blank != std::string_view::npos) {
      transfer.response.status = std::atoi(std::string(line.substr(blank + 1, 3)).c_str());
    }
    return line.size();
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    acknowledge_now(*transfer.socket);  // the blank line after the headers
    return line.size();
  }
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.front())) != 0) {
    value.remove_prefix(1);
  }
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back())) != 0) {
    value.remove_suffix(1);
  }
  transfer.response.headers.emplace_back(std::move(name), value);
  return line.size();
}

std::size_t on_body(const char* data, std::size_t size, std::size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const HttpRequest& request = *transfer.request;
  HttpResponse& response = transfer.response;
  const std::size_t length = size * count;
  if (response.status == request.buffer_status) {
    if (length > request.buffer.size() - response.buffered_bytes) {
      transfer.too_long = true;
      return 0;  // ends the transfer
    }
    std::memcpy(request.buffer.data() + response.buffered_bytes, data, length);
    response.buffered_bytes += length;
    return length;
  }
  const std::size_t room = request.text_limit - response.text.size();
  response.text.append(data, std::min(length, room));
  response.text_cut = length > room;
  return response.text_cut ? 0 : length;
}

int on_progress(void* context, curl_off_t /*download_total*/, curl_off_t /*downloaded*/,
                curl_off_t /*upload_total*/, curl_off_t /*uploaded*/) {
  auto& transfer = *static_cast<Transfer*>(context);
  const TimePoint now = std::chrono::steady_clock::now();
  if (now - transfer.asked_at < kAskEvery) return 0;
  transfer.asked_at = now;
  const auto& is_over = transfer.request->is_over;
  return is_over && is_over() ? 1 : 0;
}

Kind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Kind::timeout;
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_PEER_FAILED_VERIFICATION:
      return Kind::setup;
    default:
      return Kind::connection;
  }
}

}  // namespace

// One libcurl handle: at most one open connection, kept for the next request.
class HttpClient::Connection {
 public:
  explicit Connection(const HttpClientConfig& config) : config_(config) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { curl_easy_cleanup(handle_); }

  HttpOutcome perform(const HttpRequest& request, std::chrono::milliseconds time_limit) {
    if (handle_ == nullptr) handle_ = curl_easy_init();
    if (handle_ == nullptr) throw Error(ENOMEM, "out of memory for an HTTP connection");
    curl_easy_reset(handle_);  // options go, the open connection stays
    set_common_options(time_limit);
    const HeaderSlist headers(request.headers);
    set_request(request, headers.get());
    Transfer transfer;
    transfer.socket = &socket_;
    transfer.request = &request;
    set(handle_, CURLOPT_HEADERFUNCTION, on_header);
    set(handle_, CURLOPT_HEADERDATA, &transfer);
    set(handle_, CURLOPT_WRITEFUNCTION, on_body);
    set(handle_, CURLOPT_WRITEDATA, &transfer);
    set(handle_, CURLOPT_XFERINFOFUNCTION, on_progress);
    set(handle_, CURLOPT_XFERINFODATA, &transfer);
    set(handle_, CURLOPT_NOPROGRESS, 0L);
    std::array<char, CURL_ERROR_SIZE> words{};
    set(handle_, CURLOPT_ERRORBUFFER, words.data());
    const CURLcode code = curl_easy_perform(handle_);
    curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, nullptr);
    curl_easy_getinfo(handle_, CURLINFO_ACTIVESOCKET, &socket_);
    if (code != CURLE_OK) {
      // What failed may have left something behind (after a name that did not resolve, libcurl 7.88
      // refuses options): the next attempt starts afresh.
      curl_easy_cleanup(std::exchange(handle_, nullptr));
    }
    return outcome(code, transfer, words.data());
  }

 private:
  void set_common_options(std::chrono::milliseconds time_limit) {
    set(handle_, CURLOPT_NOSIGNAL, 1L);
    set(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(handle_, CURLOPT_FOLLOWLOCATION, 0L);
    set(handle_, CURLOPT_PATH_AS_IS, 1L);  // ".." and "//" are legal in keys
    set(handle_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(handle_, CURLOPT_TCP_KEEPALIVE, 1L);
    set(handle_, CURLOPT_BUFFERSIZE, kBufferBytes);
    set(handle_, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
    set(handle_, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    set(handle_, CURLOPT_CLOSESOCKETDATA, this);
    set(handle_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(config_.connect_timeout.count()));
    set(handle_, CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(handle_, CURLOPT_LOW_SPEED_TIME, static_cast<long>(config_.stall_timeout.count()));
    set(handle_, CURLOPT_TIMEOUT_MS, static_cast<long>(time_limit.count()));
    if (!config_.ca_file.empty()) set(handle_, CURLOPT_CAINFO, config_.ca_file.c_str());
    set(handle_, CURLOPT_SSL_VERIFYPEER, config_.tls_verify ? 1L : 0L);
    set(handle_, CURLOPT_SSL_VERIFYHOST, config_.tls_verify ? 2L : 0L);
  }

  void set_request(const HttpRequest& request, curl_slist* headers) {
    set(handle_, CURLOPT_URL, request.url.c_str());
    if (request.method == "PUT" || request.method == "POST") {
      // Sent from the caller's memory, without a copy; CUSTOMREQUEST makes a PUT of it.
      set(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set(handle_, CURLOPT_POSTFIELDS,
          request.body.empty() ? "" : reinterpret_cast<const char*>(request.body.data()));
    } else {
      set(handle_, CURLOPT_HTTPGET, 1L);
    }
    set(handle_, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    set(handle_, CURLOPT_HTTPHEADER, headers);
    set(handle_, CURLOPT_FRESH_CONNECT, request.fresh_connection ? 1L : 0L);
  }

  HttpOutcome outcome(CURLcode code, Transfer& transfer, const char* words) const {
    if (code == CURLE_ABORTED_BY_CALLBACK) {
      throw Error(ESHUTDOWN, "the request was given up: the server is shutting down");
    }
    if (transfer.too_long) {
      return TransportFailure{Kind::too_long,
                              fmt::format("the answer's body is longer than {} bytes",
                                          transfer.request->buffer.size())};
    }
    // The status of an answer whose text was cut on purpose is as good as that of a whole one.
    if (code == CURLE_OK || transfer.response.text_cut) return std::move(transfer.response);
    std::string message = *words == '\0' ? curl_easy_strerror(code) : words;
    return TransportFailure{kind_of(code), std::move(message)};
  }

  // libcurl closes sockets through here, so that we do not touch one that has become somebody
  // else's.
  static int on_close(void* context, curl_socket_t socket) {
    auto& self = *static_cast<Connection*>(context);
    if (self.socket_ == socket) self.socket_ = CURL_SOCKET_BAD;
    return ::close(socket);
  }

  const HttpClientConfig& config_;
  curl_socket_t socket_ = CURL_SOCKET_BAD;  // of the open connection, once it has been used
  CURL* handle_ = nullptr;                  // none before the first request and after a failure
};

struct HttpClient::Waiter {
  std::condition_variable turn;
  std::unique_ptr<Connection> connection;  // handed over by who releases one
};

// Gives the connection back whatever happens in between.
class HttpClient::Lease {
 public:
  Lease(HttpClient& client, TimePoint deadline)
      : client_(client), connection_(client.acquire(deadline)) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (connection_) client_.release(std::move(connection_));
  }
  Connection* operator->() const { return connection_.get(); }
  explicit operator bool() const { return connection_ != nullptr; }

 private:
  HttpClient& client_;
  std::unique_ptr<Connection> connection_;
};

HttpClient::HttpClient(HttpClientConfig config) : config_(std::move(config)) {
  initialise_libcurl();
}

HttpClient::~HttpClient() = default;

HttpOutcome HttpClient::perform(const HttpRequest& request, Duration time_limit) {
  const TimePoint deadline = std::chrono::steady_clock::now() + time_limit;
  const Lease connection(*this, deadline);
  if (request.is_over && request.is_over())
    throw Error(ESHUTDOWN, "no more requests: the server is shutting down");
  const auto time_left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  if (!connection || time_left.count() <= 0) {
    return TransportFailure{Kind::timeout, "no connection became free in time"};
  }
  return connection->perform(request, time_left);
}

// Nothing when no connection becomes free before the deadline.
std::unique_ptr<HttpClient::Connection> HttpClient::acquire(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  if (!idle_.empty()) {
    std::unique_ptr<Connection> connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }
  if (connections_ < config_.connections) {
    auto connection = std::make_unique<Connection>(config_);
    ++connections_;
    return connection;
  }
  Waiter self;
  waiters_.push_back(&self);
  if (!self.turn.wait_until(lock, deadline, [&] { return self.connection != nullptr; })) {
    std::erase(waiters_, &self);
    return nullptr;
  }
  return std::move(self.connection);
}

void HttpClient::release(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  if (waiters_.empty()) {
    idle_.push_back(std::move(connection));
    return;
  }
  Waiter& next = *waiters_.front();
  waiters_.pop_front();
  next.connection = std::move(connection);
  next.turn.notify_one();  // with the lock held: the waiter is gone as soon as it wakes
}

std::optional<WallTime> parse_http_date(const std::string& text) {
  const std::time_t seconds = curl_getdate(text.c_str(), nullptr);
  if (seconds == -1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(seconds);
}

std::optional<std::string> HttpResponse::header(std::string_view lower_case_name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& header) {
    return header.first == lower_case_name;
  });
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

}  // namespace nbdstack
