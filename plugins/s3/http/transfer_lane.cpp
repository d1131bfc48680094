#include "plugins/s3/http/transfer_lane.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Kind = TransportFailure::Kind;

// Stalls and lateness are noticed so much too late at most.
constexpr Duration kLookAround = milliseconds(25);

// A connection kept, and one that is about to be ended or kept instead of it.
constexpr long kConnections = 2;

bool is_refusal(const HttpResponse& response) {
  switch (response.status) {
    case 429:
    case 503:
    case 509:  // bandwidth limit exceeded
    case 529:  // overloaded
      return true;
    default:
      return false;
  }
}

bool is_good(const HttpResponse& response) {
  return response.status < 500 && !is_refusal(response);
}

// Another exchange of the same request could not do better.
bool is_useful(const HttpOutcome& outcome) {
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  return response != nullptr && is_good(*response);
}

}  // namespace

TransferLane::TransferLane(const HttpClientConfig& config, TransferDirections& directions,
                           TransferPlaces& places, TrustedCertificates& certificates)
    : config_(config),
      directions_(directions),
      places_(places),
      multi_(curl_multi_init()),
      first_(config, directions, certificates),
      second_(config, directions, certificates) {
  if (multi_ == nullptr) throw Error(ENOMEM, "out of memory for an HTTP connection");
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, kConnections);
}

// Whatever ends a run, the lane is left without an exchange.
class TransferLane::Run {
 public:
  explicit Run(TransferLane& lane) : lane_(lane) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { lane_.end_run(); }

 private:
  TransferLane& lane_;
};

HttpOutcome TransferLane::run(const HttpRequest& request, TransferClass its_class,
                              TransferLife& life) {
  const Run run(*this);
  request_ = &request;
  class_ = its_class;
  begun_ = steady_clock::now();
  life.ask_if_due(begun_);  // the wait for a place may have been long
  look_due_ = begun_ + TransferHedging::kLateness_min;
  begin(first_, request.buffer, request.fresh_connection, begun_);
  while (!outcome_) turn(life);
  return *std::move(outcome_);
}

void TransferLane::begin(Transfer& transfer, std::span<std::byte> buffer, bool fresh_connection,
                         TimePoint now) {
  transfer.prepare(*request_, buffer, fresh_connection, now);
  const CURLMcode code = curl_multi_add_handle(multi_.get(), transfer.handle());
  if (code != CURLM_OK) {
    throw Error(EIO, fmt::format("libcurl takes no request: {}", curl_multi_strerror(code)));
  }
}

// Ends an exchange that may be under way.
void TransferLane::drop(Transfer& transfer) {
  if (!transfer.is_under_way()) return;
  if (transfer.handle() != nullptr) curl_multi_remove_handle(multi_.get(), transfer.handle());
  transfer.abandon();
}

void TransferLane::end_run() {
  drop(first_);
  drop(second_);
  second_place_.reset();
  second_buffer_ = {};
  was_repeated_ = false;
  outcome_.reset();
  request_ = nullptr;
}

void TransferLane::turn(TransferLife& life) {
  const TimePoint now = steady_clock::now();
  life.ask_if_due(now);
  if (curl_due_ <= now) {
    curl_due_ = TimePoint::max();
    int running = 0;
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    reap();
  }
  for (Transfer* const each : {&first_, &second_}) {
    if (!outcome_ && each->is_paused()) resume_if_due(*each, now);
    if (!outcome_ && look_due_ <= now) look_after(*each, life, now);
  }
  if (!outcome_ && look_due_ <= now) {
    look_due_ = now + kLookAround;
    repeat_if_late(now);
  }
  if (!outcome_) wait_and_serve(life, now);
}

void TransferLane::wait_and_serve(const TransferLife& life, TimePoint now) {
  TimePoint due = std::min({life.ask_due(), curl_due_, look_due_});
  for (Transfer* const each : {&first_, &second_}) {
    if (!each->is_under_way()) continue;
    each->acknowledge_headers();
    if (each->is_paused()) due = std::min(due, each->resume_due(now));
  }
  const auto timeout = std::chrono::ceil<milliseconds>(std::max(due - now, Duration{}));
  for (const auto& event : sockets_.wait(static_cast<int>(timeout.count()))) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), event.socket, event.bits, &running);
  }
  reap();
}

void TransferLane::reap() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Transfer& transfer = Transfer::of(message->easy_handle);
    curl_multi_remove_handle(multi_.get(), transfer.handle());
    if (code == CURLE_OPERATION_TIMEDOUT) learn_overload(transfer, steady_clock::now());
    settle(transfer, transfer.finish(code));
  }
}

// The exchange is over and its handle with libcurl no more.
void TransferLane::settle(Transfer& transfer, HttpOutcome outcome) {
  learn(transfer, outcome);
  const bool is_second = &transfer == &second_;
  Transfer& other = is_second ? first_ : second_;
  if (other.is_under_way() && !is_useful(outcome)) {
    second_place_.reset();
    return;
  }
  drop(other);
  if (transfer.is_forbidden()) {
    throw Error(ESHUTDOWN, "the request was given up: it may not be sent any more");
  }
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  if (is_second && response != nullptr) {
    std::copy_n(second_buffer_.begin(), response->buffered_bytes, request_->buffer.begin());
  }
  outcome_ = std::move(outcome);
}

void TransferLane::learn(const Transfer& transfer, const HttpOutcome& outcome) {
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  if (response == nullptr) return;
  const bool is_body = request_->method == "GET" && response->buffered_bytes > 0;
  const TimePoint now = steady_clock::now();
  // Counted from the first exchange: where the second has won, the first was at least so slow.
  places_.learn({.is_refusal = is_refusal(*response),
                 .is_good = is_good(*response),
                 .is_large = class_ == TransferClass::large && is_good(*response),
                 .sent = transfer.begun(),
                 .now = now,
                 .get_bytes = is_body ? request_->buffer.size() : 0,
                 .to_first_byte = transfer.first_byte() - begun_,
                 .to_last_byte = now - begun_});
}

void TransferLane::look_after(Transfer& transfer, TransferLife& life, TimePoint now) {
  if (!transfer.is_under_way()) return;
  const Transfer::Look look = transfer.look(now);
  places_.carried(look.moved_bytes, look.is_on_its_way, now);
  if (look.gets_on) {
    life.got_on(now);
    if (request_->got_on) request_->got_on();
  }
  const auto stall = config_.stall_timeout;
  if (transfer.silence(now) >= stall) {
    give_up(transfer, fmt::format("not a byte came or went for {} s", stall.count()), true, now);
  } else if (transfer.crawls()) {
    give_up(transfer, fmt::format("slower than {} bytes a second on the whole", kCrawl_bytes_s),
            true, now);
  } else if (now >= life.deadline()) {
    give_up(transfer, "no answer in time", false, now);
  }
}

void TransferLane::give_up(Transfer& transfer, std::string why, bool is_overload, TimePoint now) {
  const bool may_have_arrived = transfer.may_have_arrived();
  if (is_overload) learn_overload(transfer, now);
  drop(transfer);
  settle(transfer, TransportFailure{.kind = Kind::timeout,
                                    .message = std::move(why),
                                    .may_have_arrived = may_have_arrived});
}

void TransferLane::learn_overload(const Transfer& transfer, TimePoint now) {
  places_.learn({.is_refusal = true, .sent = transfer.begun(), .now = now});
}

void TransferLane::resume_if_due(Transfer& transfer, TimePoint now) {
  if (transfer.resume_due(now) > now) return;
  const CURLcode code = transfer.resume();
  if (code == CURLE_OK) return;
  curl_multi_remove_handle(multi_.get(), transfer.handle());
  settle(transfer, transfer.finish(code));
}

void TransferLane::repeat_if_late(TimePoint now) {
  if (was_repeated_ || request_->method != "GET" || request_->buffer.empty() ||
      directions_.down.holds_somebody_back()) {
    return;
  }
  auto place = places_.repeat(class_, {.bytes = request_->buffer.size(),
                                       .waited = now - begun_,
                                       .silent = first_.silence(now),
                                       .has_first_byte = first_.has_first_byte()});
  if (!place) return;
  was_repeated_ = true;
  second_place_.emplace(*std::move(place));
  try {
    second_buffer_.resize(request_->buffer.size());
    begin(second_, second_buffer_, true, now);
  } catch (...) {
    // Only the first one's failure is the request's.
    drop(second_);
    second_place_.reset();
  }
}

int TransferLane::on_socket(CURL* handle, curl_socket_t socket, int what, void* self,
                            void* /*unused*/) {
  static_cast<TransferLane*>(self)->sockets_.want(socket, what);
  if (what != CURL_POLL_REMOVE) Transfer::of(handle).uses(socket);
  return 0;
}

int TransferLane::on_timer(CURLM* /*multi*/, long timeout_ms, void* self) {
  static_cast<TransferLane*>(self)->curl_due_ =
      timeout_ms < 0 ? TimePoint::max() : steady_clock::now() + milliseconds(timeout_ms);
  return 0;
}

}  // namespace nbdstack
