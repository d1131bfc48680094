#include "plugins/s3/http/transfer.hpp"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/http/answer_head.hpp"
#include "plugins/s3/http/socket_progress.hpp"

namespace nbdstack {
namespace {

using Kind = TransportFailure::Kind;

// Connections that carry megabyte objects: fewer, larger pieces.
constexpr auto kBuffer_bytes = static_cast<long>(SendPace::kPiece_bytes_max);
constexpr std::size_t kHeaders_bytes_max = std::size_t{64} << 10U;

// An option that libcurl refuses is a mistake of ours or a libcurl built without TLS.
template <typename Value>
void set(CURL* handle, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(handle, option, value);
  if (code != CURLE_OK) {
    throw Error(EINVAL, fmt::format("libcurl refuses option {}: {}", static_cast<int>(option),
                                    curl_easy_strerror(code)));
  }
}

// Opens a socket as libcurl does, except that programs (credential_process) do not inherit it.
curl_socket_t open_socket(void* /*unused*/, curlsocktype /*purpose*/, curl_sockaddr* address) {
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// libcurl is C: no exception may pass through it. Only memory can be lacking in its callbacks.
template <typename Result, typename Work>
Result shielded(Result on_exception, const Work& work) noexcept {
  try {
    return work();
  } catch (...) {
    return on_exception;
  }
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

// A forward proxy has answered CONNECT: not with its permission, and not because the service is out
// of reach (502 to 504), which may pass.
bool is_refused_by_proxy(CURL* handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_HTTP_CONNECTCODE, &status);
  return status >= 400 && status < 500 && status != 408 && status != 429;
}

}  // namespace

void Transfer::make_handle() {
  pace_ = SendPace();
  handle_ = curl_easy_init();
  if (handle_ == nullptr) throw Error(ENOMEM, "out of memory for an HTTP request");
  set(handle_, CURLOPT_PRIVATE, this);
  set(handle_, CURLOPT_NOSIGNAL, 1L);
  set(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
  const long version = config_.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
  set(handle_, CURLOPT_HTTP_VERSION, version);
  set(handle_, CURLOPT_FOLLOWLOCATION, 0L);
  set(handle_, CURLOPT_PATH_AS_IS, 1L);  // ".." and "//" are legal in keys
  set(handle_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(handle_, CURLOPT_TCP_KEEPALIVE, 1L);
  set(handle_, CURLOPT_BUFFERSIZE, kBuffer_bytes);
  set(handle_, CURLOPT_UPLOAD_BUFFERSIZE, kBuffer_bytes);
  // The end of a request does not wait for the resolver, even if that is looking up a name.
  set(handle_, CURLOPT_QUICK_EXIT, 1L);
  set(handle_, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  set(handle_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(config_.connect_timeout.count()));
  if (!config_.use_proxy) set(handle_, CURLOPT_NOPROXY, "*");
  certificates_.set_for(handle_);
  set(handle_, CURLOPT_SSL_VERIFYPEER, config_.tls_verify ? 1L : 0L);
  set(handle_, CURLOPT_SSL_VERIFYHOST, config_.tls_verify ? 2L : 0L);
  set(handle_, CURLOPT_HEADERFUNCTION, on_header);
  set(handle_, CURLOPT_HEADERDATA, this);
  set(handle_, CURLOPT_WRITEFUNCTION, on_body);
  set(handle_, CURLOPT_WRITEDATA, this);
  set(handle_, CURLOPT_PREREQFUNCTION, on_connected);
  set(handle_, CURLOPT_PREREQDATA, this);
  set(handle_, CURLOPT_READFUNCTION, on_upload);
  set(handle_, CURLOPT_READDATA, this);
  set(handle_, CURLOPT_SEEKFUNCTION, on_seek);
  set(handle_, CURLOPT_SEEKDATA, this);
  set(handle_, CURLOPT_NOPROGRESS, 1L);
  set(handle_, CURLOPT_ERRORBUFFER, words_.data());
}

void Transfer::prepare(const HttpRequest& request, std::span<std::byte> buffer,
                       bool fresh_connection, TimePoint now) {
  clear();
  request_ = &request;
  buffer_ = buffer;
  begun_ = now;
  looked_ = now;
  moved_ = now;
  if (handle_ == nullptr) make_handle();
  set_headers(request.headers);
  set_request(request, fresh_connection);
}

void Transfer::clear() {
  response_ = HttpResponse{};
  words_.front() = '\0';
  header_bytes_ = 0;
  headers_ended_ = false;
  sent_bytes_ = 0;
  sent_twice_ = false;
  too_long_ = false;
  forbidden_ = false;
  socket_ = CURL_SOCKET_BAD;
  acknowledged_ = false;
  first_byte_ = TimePoint{};
  pace_.begin();
  receive_pace_.begin();
  may_move_ = Duration{};
  counted_socket_ = CURL_SOCKET_BAD;
  counted_bytes_ = 0;
}

void Transfer::set_request(const HttpRequest& request, bool fresh_connection) {
  set(handle_, CURLOPT_URL, request.url.c_str());
  if (request.method == "PUT" || request.method == "POST") {
    // CUSTOMREQUEST makes a PUT of it. Without a pointer, libcurl asks us for every piece.
    set(handle_, CURLOPT_POST, 1L);
    set(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(handle_, CURLOPT_POSTFIELDS, request.body.empty() ? "" : nullptr);
  } else {
    set(handle_, CURLOPT_HTTPGET, 1L);
    if (request.method == "HEAD") set(handle_, CURLOPT_NOBODY, 1L);  // else it waits for a body
  }
  set(handle_, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  set(handle_, CURLOPT_FRESH_CONNECT, fresh_connection ? 1L : 0L);
}

// libcurl's list, made of memory that is used again for the next request.
void Transfer::set_headers(const HeaderList& headers) {
  header_lines_.resize(headers.size() + 2);
  std::size_t count = 0;
  bool has_type = false;
  for (const auto& [name, value] : headers) {
    header_lines_[count++].assign(name).append(": ").append(value);
    has_type = has_type || name == "content-type";
  }
  // Without a value: libcurl is not to send it by itself.
  header_lines_[count++] = "Expect:";
  if (!has_type) header_lines_[count++] = "Content-Type:";
  header_nodes_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    curl_slist* const next = i + 1 < count ? &header_nodes_[i + 1] : nullptr;
    header_nodes_[i] = {header_lines_[i].data(), next};
  }
  set(handle_, CURLOPT_HTTPHEADER, header_nodes_.data());
}

HttpOutcome Transfer::finish(CURLcode code) {
  const bool may_arrive = may_have_arrived();
  const Kind kind = is_refused_by_proxy(handle_) ? Kind::proxy : kind_of(code);
  request_ = nullptr;
  end_pauses();
  // A failure may leave the handle unusable (after a name that did not resolve, libcurl 7.88
  // refuses options): the next request gets a new one.
  if (code != CURLE_OK) curl_easy_cleanup(std::exchange(handle_, nullptr));
  if (too_long_) {
    return TransportFailure{
        Kind::too_long, fmt::format("the answer's body is longer than {} bytes", buffer_.size())};
  }
  // libcurl takes a connection that ends there for an answer without a body.
  if (code == CURLE_OK && !headers_ended_) {
    return TransportFailure{Kind::connection, "the answer ended among its headers"};
  }
  // The status of an answer whose text was cut on purpose is as good as that of a whole one.
  if (code == CURLE_OK || response_.text_cut) {
    response_.sent_twice = sent_twice_;
    return std::move(response_);
  }
  return TransportFailure{.kind = kind,
                          .message = code == CURLE_SSL_CACERT_BADFILE ? certificates_.fault()
                                     : words_.front() == '\0'         ? curl_easy_strerror(code)
                                                                      : words_.data(),
                          .may_have_arrived = may_arrive};
}

// There was a connection, and libcurl has asked for all of the body, or else has sent it.
bool Transfer::may_have_arrived() const {
  curl_off_t connected_us = 0;
  curl_off_t sent = 0;
  curl_easy_getinfo(handle_, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
  curl_easy_getinfo(handle_, CURLINFO_SIZE_UPLOAD_T, &sent);
  const std::size_t sent_bytes = std::max(sent_bytes_, static_cast<std::size_t>(sent));
  return sent_twice_ || (connected_us > 0 && sent_bytes >= request_->body.size());
}

void Transfer::abandon() {
  request_ = nullptr;
  end_pauses();
  curl_easy_cleanup(std::exchange(handle_, nullptr));
}

Transfer& Transfer::of(CURL* handle) {
  char* self = nullptr;
  curl_easy_getinfo(handle, CURLINFO_PRIVATE, &self);
  return *reinterpret_cast<Transfer*>(self);
}

std::size_t Transfer::take_header(std::string_view line) {
  if (!has_first_byte()) first_byte_ = std::chrono::steady_clock::now();
  header_bytes_ += line.size();
  if (header_bytes_ > kHeaders_bytes_max) return 0;
  const HeadLine kind = take_head_line(line, response_);
  if (kind == HeadLine::status) headers_ended_ = false;
  if (kind == HeadLine::end) headers_ended_ = true;
  return line.size();
}

std::size_t Transfer::take_body(std::span<const std::byte> piece) {
  TransferDirection& down = directions_.down;
  if (down.is_limited() && !down.take_all(piece.size(), std::chrono::steady_clock::now())) {
    pause(down_paused_, down);
    return CURL_WRITEFUNC_PAUSE;
  }
  if (response_.status == request_->buffer_status) {
    if (piece.size() > buffer_.size() - response_.buffered_bytes) {
      too_long_ = true;
      return 0;  // ends the transfer
    }
    std::memcpy(buffer_.data() + response_.buffered_bytes, piece.data(), piece.size());
    response_.buffered_bytes += piece.size();
    return piece.size();
  }
  const std::size_t room = request_->text_limit - response_.text.size();
  response_.text.append(reinterpret_cast<const char*>(piece.data()), std::min(piece.size(), room));
  response_.text_cut = piece.size() > room;
  return response_.text_cut ? 0 : piece.size();
}

bool Transfer::may_send() {
  if (request_->may_send && !request_->may_send()) forbidden_ = true;
  return !forbidden_;
}

std::size_t Transfer::give_body(std::span<std::byte> room) {
  if (!may_send()) return CURL_READFUNC_ABORT;
  const TimePoint now = std::chrono::steady_clock::now();
  const std::span<const std::byte> rest = request_->body.subspan(sent_bytes_);
  std::size_t wanted = std::min(rest.size(), room.size());
  if (wanted == 0) return 0;
  const auto progress = socket_progress(socket_).value_or(SocketProgress());
  wanted =
      std::min(wanted, pace_.allowance(progress.unacknowledged_bytes, progress.round_trip, now));
  if (wanted == 0) {
    resume_at_ = now + SendPace::kPause;
    return CURL_READFUNC_PAUSE;
  }
  const std::size_t length = directions_.up.take_some(wanted, now);
  if (length == 0) {
    pause(up_paused_, directions_.up);
    return CURL_READFUNC_PAUSE;
  }
  pace_.handed(length, now);
  std::copy_n(rest.begin(), length, room.begin());
  sent_bytes_ += length;
  return length;
}

std::size_t Transfer::on_header(const char* data, std::size_t size, std::size_t count, void* self) {
  return shielded(std::size_t{0}, [&] {
    return static_cast<Transfer*>(self)->take_header({data, size * count});
  });
}

std::size_t Transfer::on_body(const char* data, std::size_t size, std::size_t count, void* self) {
  return shielded(std::size_t{0}, [&] {
    return static_cast<Transfer*>(self)->take_body(std::as_bytes(std::span(data, size * count)));
  });
}

std::size_t Transfer::on_upload(char* room, std::size_t size, std::size_t count, void* self) {
  return shielded(std::size_t{CURL_READFUNC_ABORT}, [&] {
    return static_cast<Transfer*>(self)->give_body(
        std::as_writable_bytes(std::span(room, size * count)));
  });
}

// The connection is there, and the next thing is the request: connecting may have taken long.
int Transfer::on_connected(void* self, char* /*their_address*/, char* /*our_address*/,
                           int /*their_port*/, int /*our_port*/) {
  return shielded(CURL_PREREQFUNC_ABORT, [&] {
    return static_cast<Transfer*>(self)->may_send() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
  });
}

// libcurl begins anew, because the kept-alive connection turned out to be dead.
int Transfer::on_seek(void* self, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(self);
  const auto target = static_cast<std::size_t>(offset);
  if (origin != SEEK_SET || target > transfer.request_->body.size()) return CURL_SEEKFUNC_FAIL;
  transfer.sent_bytes_ = target;
  transfer.pace_ = SendPace();  // of another connection
  transfer.sent_twice_ = true;
  return CURL_SEEKFUNC_OK;
}

}  // namespace nbdstack
