// The exchanges of HttpEngine: their beginning, their end, and what happens in between.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "plugins/s3/http_engine_parts.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Kind = TransportFailure::Kind;

// Stalls and lateness are noticed so much too late at most.
constexpr Duration kLookEvery = milliseconds(25);

constexpr Duration kWaitWorthTelling = milliseconds(500);

bool is_refusal(const HttpResponse& response) {
  return response.status == 503 || response.status == 429;
}

// Another exchange of the same request could not do better.
bool is_useful(const HttpOutcome& outcome) {
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  return response != nullptr && response->status < 500 && !is_refusal(*response);
}

// A timeout after a long wait for a place is for the greater part that wait's.
void tell_wait(HttpOutcome& outcome, Duration waited) {
  auto* const failure = std::get_if<TransportFailure>(&outcome);
  if (failure == nullptr || failure->kind != Kind::timeout || waited < kWaitWorthTelling) return;
  failure->message += fmt::format(", after {:.1f} s of waiting for a free connection",
                                  std::chrono::duration<double>(waited).count());
}

}  // namespace

void HttpEngine::begin(Pending& pending, bool as_hedge) {
  const TimePoint now = steady_clock::now();
  Exchange* exchange = nullptr;
  try {
    if (idle_.empty()) {
      exchanges_.push_back(std::make_unique<Exchange>(
          config_, directions_,
          Transfer::SocketHooks{.open = on_open, .close = on_close, .context = this}));
      idle_.push_back(exchanges_.back().get());
    }
    exchange = idle_.back();
    if (as_hedge) exchange->scratch.resize(pending.request.buffer.size());
    active_.push_back(exchange);
    idle_.pop_back();
    exchange->pending = &pending;
    (as_hedge ? pending.second : pending.first) = exchange;
    if (!as_hedge) pending.begun = now;
    exchange->prepare(pending.request, as_hedge ? exchange->scratch : pending.request.buffer,
                      pending.deadline - now, as_hedge || pending.request.fresh_connection, now);
    const CURLMcode code = curl_multi_add_handle(multi_.get(), exchange->handle());
    if (code != CURLM_OK) {
      throw Error(EIO, fmt::format("libcurl takes no request: {}", curl_multi_strerror(code)));
    }
  } catch (...) {
    if (exchange != nullptr && exchange->pending == &pending) {
      drop(exchange);
    } else {
      queue_.release(pending.its_class, now);
    }
    if (!as_hedge) pending.complete(std::current_exception());
  }
}

void HttpEngine::abandon(std::uint64_t id, bool only_waiting) {
  const auto is_it = [id](const Pending* pending) { return pending->id == id; };
  if (const auto waiting = queue_.remove(is_it)) {
    if (only_waiting) {
      (*waiting)->complete(no_place_in_time());
    } else {
      (*waiting)->complete(shutting_down());
    }
    return;
  }
  if (only_waiting) return;
  const auto found = std::find_if(active_.begin(), active_.end(), [&](const Exchange* exchange) {
    return is_it(exchange->pending);
  });
  if (found == active_.end()) return;  // it was done meanwhile
  Pending& pending = *(*found)->pending;
  drop(pending.first);
  drop(pending.second);
  pending.complete(shutting_down());
}

// The exchange is over and its handle with libcurl no more.
void HttpEngine::settle(Exchange& exchange, HttpOutcome outcome) {
  Pending& pending = *exchange.pending;
  learn(exchange, outcome, steady_clock::now());
  const bool is_hedge = exchange.is_hedge();
  Exchange* const other = is_hedge ? pending.first : pending.second;
  if (other != nullptr && !is_useful(outcome)) {
    recycle(exchange);
    return;
  }
  drop(other);
  if (exchange.is_forbidden()) {
    recycle(exchange);
    pending.complete(std::make_exception_ptr(
        Error(ESHUTDOWN, "the request was given up: it may not be sent any more")));
    return;
  }
  tell_wait(outcome, pending.begun - pending.handed_over);
  if (is_hedge) pending.hedge_body = std::move(exchange.scratch);
  recycle(exchange);
  pending.complete(std::move(outcome));
}

void HttpEngine::learn(const Exchange& exchange, const HttpOutcome& outcome, TimePoint now) {
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  if (response == nullptr) return;
  if (is_refusal(*response)) limit_.refused(exchange.begun(), now);
  if (response->status < 500 && !is_refusal(*response)) limit_.answered();
  const Pending& pending = *exchange.pending;
  // Counted from the first exchange: where the second has won, the first was at least so slow.
  if (pending.request.method == "GET" && response->buffered_bytes > 0) {
    hedging_.answered(pending.request.buffer.size(), exchange.first_byte() - pending.begun,
                      now - pending.begun);
  }
}

// Ends an exchange that may be under way.
void HttpEngine::drop(Exchange* exchange) {
  if (exchange == nullptr) return;
  if (exchange->handle() != nullptr) {
    curl_multi_remove_handle(multi_.get(), exchange->handle());
    exchange->abandon();
  }
  recycle(*exchange);
}

void HttpEngine::recycle(Exchange& exchange) {
  Pending& pending = *exchange.pending;
  (exchange.is_hedge() ? pending.second : pending.first) = nullptr;
  exchange.pending = nullptr;
  exchange.scratch = {};
  std::erase(active_, &exchange);
  idle_.push_back(&exchange);
  queue_.release(pending.its_class, steady_clock::now());
}

void HttpEngine::look_after_transfers(TimePoint now) {
  look_due_ = now + kLookEvery;
  for (std::size_t i = active_.size(); i-- > 0;) {
    if (i >= active_.size()) continue;  // its like went with it
    Exchange& exchange = *active_[i];
    if (exchange.has_stalled(now, config_.stall_timeout)) {
      curl_multi_remove_handle(multi_.get(), exchange.handle());
      exchange.abandon();
      settle(exchange,
             TransportFailure{Kind::timeout, fmt::format("not a byte came or went for {} s",
                                                         config_.stall_timeout.count())});
      again_ = true;
    } else {
      hedge_if_late(exchange, now);
    }
  }
}

bool HttpEngine::may_hedge() const {
  return config_.hedging && !limit_.is_lowered() && queue_.in_flight() < limit_.limit() &&
         queue_.is_empty() && directions_.down.paused.empty();
}

void HttpEngine::hedge_if_late(Exchange& exchange, TimePoint now) {
  Pending& pending = *exchange.pending;
  const HttpRequest& request = pending.request;
  if (pending.was_hedged || request.method != "GET" || request.buffer.empty() || !may_hedge()) {
    return;
  }
  if (!hedging_.should_repeat(request.buffer.size(), now - pending.begun,
                              exchange.has_first_byte())) {
    return;
  }
  pending.was_hedged = true;
  queue_.occupy(pending.its_class);
  begin(pending, true);
}

void HttpEngine::resume_paused(TransferDirection& direction, TimePoint now) {
  if (direction.paused.empty() || direction.limit.ready_at() > now) return;
  for (std::size_t count = direction.paused.size(); count > 0; --count) {
    if (direction.paused.empty() || direction.limit.allowance(now) == 0) return;
    auto& exchange = static_cast<Exchange&>(*direction.paused.front());
    direction.paused.pop_front();
    const CURLcode code = exchange.resume(&direction == &directions_.up);
    if (code == CURLE_OK) continue;
    curl_multi_remove_handle(multi_.get(), exchange.handle());
    settle(exchange, exchange.finish(code));
    again_ = true;
  }
}

}  // namespace nbdstack
