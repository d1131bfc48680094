#include "plugins/s3/http_engine.hpp"

#include <algorithm>
#include <utility>

#include "plugins/s3/http_engine_parts.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Whether a request is over may take another thread's look (common/nbdkit/server_stop.hpp).
constexpr Duration kAskEvery = milliseconds(100);

}  // namespace

HttpEngine::HttpEngine(const HttpClientConfig& config)
    : config_(config),
      directions_{.up = {.limit = BandwidthLimit(config.upload_limit_bytes_s), .paused = {}},
                  .down = {.limit = BandwidthLimit(config.download_limit_bytes_s), .paused = {}}},
      multi_(curl_multi_init()),
      limit_(config.connections) {
  if (multi_ == nullptr) throw Error(ENOMEM, "out of memory for the HTTP engine");
  // So that nothing can fail where an exchange ends.
  exchanges_.reserve(config.connections);
  idle_.reserve(config.connections);
  active_.reserve(config.connections);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(config.connections));
  thread_ = std::thread([this] { run(); });
}

HttpEngine::~HttpEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  sockets_.wake();
  thread_.join();
  std::unique_lock lock(mutex_);
  nobody_left_.wait(lock, [this] { return callers_ == 0; });
}

HttpOutcome HttpEngine::perform(const HttpRequest& request, Duration time_limit) {
  if (request.is_over && request.is_over()) {
    throw Error(ESHUTDOWN, "no more requests: the server is shutting down");
  }
  if (time_limit <= Duration::zero()) return no_place_in_time();
  Pending pending(request, steady_clock::now() + time_limit);
  hand_over(pending);
  std::exception_ptr interruption;
  try {
    await(pending);
  } catch (...) {
    // The request's memory must not go before the engine has let go of it.
    interruption = std::current_exception();
    give_up(pending, false);
    while (!pending.done.wait_until(steady_clock::now() + kAskEvery)) continue;
  }
  leave();
  if (interruption != nullptr) std::rethrow_exception(std::move(interruption));
  if (pending.error != nullptr) std::rethrow_exception(std::move(pending.error));
  if (const auto* response = std::get_if<HttpResponse>(&pending.outcome);
      response != nullptr && !pending.hedge_body.empty()) {
    std::copy_n(pending.hedge_body.begin(), response->buffered_bytes, request.buffer.begin());
  }
  return std::move(pending.outcome);
}

void HttpEngine::hand_over(Pending& pending) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) std::rethrow_exception(shutting_down());
    pending.id = ++last_id_;
    inbox_.push_back({.begin = &pending});
    ++callers_;
    wake = std::exchange(asleep_, false);
  }
  if (wake) sockets_.wake();
}

void HttpEngine::give_up(const Pending& pending, bool only_waiting) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back({.id = pending.id, .only_waiting = only_waiting});
    asleep_ = false;
  }
  sockets_.wake();
}

void HttpEngine::leave() {
  const std::lock_guard lock(mutex_);
  if (--callers_ == 0 && stopping_) nobody_left_.notify_one();
}

// At the deadline, who still waits for a place is told so. What is in flight then is ended by
// libcurl, which knows what it was doing.
void HttpEngine::await(Pending& pending) {
  const auto& is_over = pending.request.is_over;
  bool given_up = false;
  bool late = false;
  for (;;) {
    TimePoint until = steady_clock::now() + kAskEvery;
    if (!late) until = std::min(until, pending.deadline);
    if (pending.done.wait_until(until)) return;
    if (!given_up && is_over && is_over()) {
      given_up = true;
      give_up(pending, false);
    } else if (!late && steady_clock::now() >= pending.deadline) {
      late = true;
      give_up(pending, true);
    }
  }
}

void HttpEngine::run() {
  while (take_messages()) {
    begin_waiting();
    call_when_due();
    const TimePoint now = steady_clock::now();
    if (!active_.empty() && now >= look_due_) look_after_transfers(now);
    resume_paused(directions_.up, now);
    resume_paused(directions_.down, now);
    again_ = reap() || again_;
    wait_and_serve();
  }
  end_everything();
}

// False: the engine is to stop.
bool HttpEngine::take_messages() {
  {
    const std::lock_guard lock(mutex_);
    asleep_ = false;
    messages_.swap(inbox_);
    if (stopping_) return false;
  }
  for (const Message& message : messages_) {
    if (message.begin != nullptr) {
      enqueue(*message.begin);
    } else {
      abandon(message.id, message.only_waiting);
    }
  }
  messages_.clear();
  return true;
}

void HttpEngine::enqueue(Pending& pending) {
  try {
    queue_.push(pending.its_class, &pending, steady_clock::now());
  } catch (...) {
    pending.complete(std::current_exception());
  }
}

void HttpEngine::begin_waiting() {
  if (queue_.is_empty()) return;
  const TimePoint now = steady_clock::now();
  while (const auto next = queue_.take(limit_.limit(), now)) begin(**next, false);
}

void HttpEngine::call_when_due() {
  if (curl_due_ > steady_clock::now()) return;
  curl_due_ = TimePoint::max();
  int running = 0;
  curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
}

void HttpEngine::wait_and_serve() {
  int timeout_ms = std::exchange(again_, false) ? 0 : patience_ms(steady_clock::now());
  if (timeout_ms != 0) {
    const std::lock_guard lock(mutex_);
    if (inbox_.empty() && !stopping_) {
      asleep_ = true;
    } else {
      timeout_ms = 0;
    }
  }
  for (const auto& event : sockets_.wait(timeout_ms)) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), event.socket, event.bits, &running);
  }
  reap();
}

// True: a place became free.
bool HttpEngine::reap() {
  bool any = false;
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    auto& exchange = static_cast<Exchange&>(Transfer::of(message->easy_handle));
    curl_multi_remove_handle(multi_.get(), exchange.handle());
    settle(exchange, exchange.finish(code));
    any = true;
  }
  return any;
}

void HttpEngine::end_everything() {
  for (const Message& message : messages_) {
    if (message.begin != nullptr) message.begin->complete(shutting_down());
  }
  while (const auto waiting = queue_.remove([](const Pending*) { return true; })) {
    (*waiting)->complete(shutting_down());
  }
  while (!active_.empty()) abandon(active_.back()->pending->id, false);
}

// Until something is due by itself; -1: nothing is.
int HttpEngine::patience_ms(TimePoint now) {
  TimePoint due = curl_due_;
  if (!active_.empty()) due = std::min(due, look_due_);
  if (!directions_.up.paused.empty()) due = std::min(due, directions_.up.limit.ready_at());
  if (!directions_.down.paused.empty()) due = std::min(due, directions_.down.limit.ready_at());
  if (due == TimePoint::max()) return -1;
  return static_cast<int>(std::chrono::ceil<milliseconds>(std::max(due - now, Duration{})).count());
}

int HttpEngine::on_socket(CURL* handle, curl_socket_t socket, int what, void* self,
                          void* /*unused*/) {
  static_cast<HttpEngine*>(self)->sockets_.want(socket, what);
  if (what != CURL_POLL_REMOVE) Transfer::of(handle).uses(socket);
  return 0;
}

int HttpEngine::on_timer(CURLM* /*multi*/, long timeout_ms, void* self) {
  auto& engine = *static_cast<HttpEngine*>(self);
  engine.curl_due_ =
      timeout_ms < 0 ? TimePoint::max() : steady_clock::now() + milliseconds(timeout_ms);
  return 0;
}

curl_socket_t HttpEngine::on_open(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
  return static_cast<HttpEngine*>(self)->sockets_.open(*address);
}

int HttpEngine::on_close(void* self, curl_socket_t socket) {
  return static_cast<HttpEngine*>(self)->sockets_.close(socket);
}

}  // namespace nbdstack
