#include "plugins/s3/http/http_engine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "common/invariant.hpp"
#include "plugins/s3/http/transfer_life.hpp"
#include "plugins/s3/http/transfer_queue.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Kind = TransportFailure::Kind;

constexpr Duration kWaitWorthTelling = milliseconds(500);

TransferPlaces::Wanted wanted_for(const HttpRequest& request) {
  constexpr std::size_t kSmall_bytes = std::size_t{64} << 10U;
  const std::size_t bytes = std::max(request.body.size(), request.buffer.size());
  return {.its_class = bytes <= kSmall_bytes ? TransferClass::small : TransferClass::large,
          .bytes = bytes};
}

// Returns the failure of a request of which nothing was sent.
TransportFailure no_place_in_time(Duration put_off) {
  return {.kind = Kind::timeout,
          .message = "no connection became free in time",
          .may_have_arrived = false,
          .put_off = put_off};
}

[[noreturn]] void refuse() {
  throw Error(ESHUTDOWN, "no more requests: the server is shutting down");
}

// A timeout after a long wait for a place is for the greater part that wait's.
void tell_wait(HttpOutcome& outcome, Duration waited) {
  auto* const failure = std::get_if<TransportFailure>(&outcome);
  if (failure == nullptr || failure->kind != Kind::timeout || waited < kWaitWorthTelling) return;
  failure->message += fmt::format(", after {:.1f} s of waiting for a free connection",
                                  std::chrono::duration<double>(waited).count());
}

}  // namespace

HttpEngine::HttpEngine(const HttpClientConfig& config)
    : config_(config),
      directions_{.up = TransferDirection(config.upload_limit_bytes_s),
                  .down = TransferDirection(config.download_limit_bytes_s)},
      places_(config.connections, config.hedging),
      certificates_(config.ca_file) {
  idle_.reserve(std::max(config.connections, 1U));  // so that no lane is lost for lack of memory
}

HttpEngine::~HttpEngine() {
  const MutexLock lock(mutex_);
  stopping_ = true;
  while (callers_ > 0) no_caller_left_.wait(mutex_);
}

// A caller that the engine's end waits for.
class HttpEngine::Visit {
 public:
  explicit Visit(HttpEngine& engine) : engine_(engine) {
    const MutexLock lock(engine_.mutex_);
    if (engine_.stopping_) refuse();
    ++engine_.callers_;
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    const MutexLock lock(engine_.mutex_);
    if (--engine_.callers_ == 0 && engine_.stopping_) engine_.no_caller_left_.notify_one();
  }

 private:
  HttpEngine& engine_;
};

// A lane that is lent to a caller, which has a place.
class HttpEngine::Loan {
 public:
  explicit Loan(HttpEngine& engine) : engine_(engine) {
    {
      const MutexLock lock(engine_.mutex_);
      if (!engine_.idle_.empty()) {
        lane_ = std::move(engine_.idle_.back());
        engine_.idle_.pop_back();
      }
    }
    if (lane_ == nullptr) {
      lane_ = std::make_unique<TransferLane>(engine_.config_, engine_.directions_, engine_.places_,
                                             engine_.certificates_);
    }
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() {
    const MutexLock lock(engine_.mutex_);
    // There are no more lanes than places, so this allocates nothing.
    INVARIANT(engine_.idle_.size() < engine_.idle_.capacity(), engine_.idle_.size());
    engine_.idle_.push_back(std::move(lane_));
  }

  TransferLane& lane() { return *lane_; }

 private:
  HttpEngine& engine_;
  std::unique_ptr<TransferLane> lane_;
};

HttpOutcome HttpEngine::perform(const HttpRequest& request, Duration time_limit) {
  if (request.is_over && request.is_over()) refuse();
  if (time_limit <= Duration::zero()) return no_place_in_time({});
  const Visit visit(*this);
  const TimePoint came = steady_clock::now();
  TransferLife life(came, time_limit, request.time, request.is_over, stopping_);
  const TransferPlaces::Wanted wanted = wanted_for(request);
  const std::optional<TransferPlaces::Place> place = places_.enter(wanted, life);
  if (!place) return no_place_in_time(life.put_off());
  const Duration waited = steady_clock::now() - came;
  Loan loan(*this);
  HttpOutcome outcome = loan.lane().run(request, wanted.its_class, life);
  tell_wait(outcome, waited);
  std::visit([&life](auto& each) { each.put_off = life.put_off(); }, outcome);
  return outcome;
}

}  // namespace nbdstack
