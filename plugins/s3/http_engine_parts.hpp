// What the two halves of the engine share: http_engine.cpp, where callers and the loop are, and
// http_engine_exchanges.cpp, where a request's one or two exchanges are looked after. Nobody else
// includes this.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/http_engine.hpp"
#include "plugins/s3/transfer_signal.hpp"

namespace nbdstack {

inline TransferClass class_of(const HttpRequest& request) {
  constexpr std::size_t kSmallBytes = std::size_t{64} << 10U;
  const bool small = request.body.size() <= kSmallBytes && request.buffer.size() <= kSmallBytes;
  return small ? TransferClass::small : TransferClass::large;
}

inline TransportFailure no_place_in_time() {
  return {TransportFailure::Kind::timeout, "no connection became free in time"};
}

inline std::exception_ptr shutting_down() {
  return std::make_exception_ptr(
      Error(ESHUTDOWN, "the request was given up: the server is shutting down"));
}

// A caller's request, on the caller's stack.
struct HttpEngine::Pending {
  Pending(const HttpRequest& its_request, TimePoint its_deadline)
      : request(its_request), deadline(its_deadline), its_class(class_of(its_request)) {}

  // All this is gone when the caller has noticed.
  void complete(HttpOutcome result) {
    outcome = std::move(result);
    done.signal();
  }
  void complete(std::exception_ptr exception) {
    error = std::move(exception);
    done.signal();
  }

  const HttpRequest& request;
  const TimePoint handed_over = std::chrono::steady_clock::now();
  const TimePoint deadline;
  const TransferClass its_class;
  std::uint64_t id = 0;  // stays its own when the stack is another one's

  // The engine's thread's, until done.
  Exchange* first = nullptr;
  Exchange* second = nullptr;
  bool was_hedged = false;
  TimePoint begun{};
  HttpOutcome outcome;
  std::exception_ptr error;
  std::vector<std::byte> hedge_body;  // not empty: this goes to the request's buffer

  TransferSignal done;
};

struct HttpEngine::Exchange final : Transfer {
  using Transfer::Transfer;

  Pending* pending = nullptr;
  std::vector<std::byte> scratch;  // a hedge's buffer
  [[nodiscard]] bool is_hedge() const { return pending->second == this; }
};

struct HttpEngine::Message {
  Pending* begin = nullptr;  // else: the request of this id is given up
  std::uint64_t id = 0;
  bool only_waiting = false;  // and only if it has not begun
};

}  // namespace nbdstack
