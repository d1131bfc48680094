// Catches all exceptions: one that leaves a callback of nbdkit ends the server.
#pragma once

#include <fmt/core.h>
#include <nbdkit-filter.h>

#include <array>
#include <cerrno>
#include <exception>
#include <new>

#include "common/error.hpp"
#include "common/fault/fault.hpp"

namespace nbdstack {

// nbdkit_error, of one line (quoted_name.hpp).
void report(const char* message) noexcept;

// Runs `body`. Returns 0, or the errno of its exception, whose message and subject are passed to
// `log_it` unless the layer below has logged it.
template <typename Body, typename LogIt>
int guarded(Body&& body, LogIt&& log_it) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    if (!error.is_reported()) log_it(error.what(), error.subject());
    return error.code();
  } catch (const std::bad_alloc&) {
    log_it("out of memory", std::nullopt);
    return ENOMEM;
  } catch (const std::exception& error) {
    std::array<char, 256> message{};
    fmt::format_to_n(message.data(), message.size() - 1, "unexpected: {}", error.what());
    log_it(message.data(), std::nullopt);
    return EIO;
  } catch (...) {
    log_it("unexpected failure of unknown type", std::nullopt);
    return EIO;
  }
}

template <typename Body>
int guarded(Body&& body) noexcept {
  return guarded(body, [](const char* message, auto&&...) { report(message); });
}

// As above, for a client's request. All failing requests of a kind are one fault in the log.
template <typename Body>
int guarded_request(Fault& fault, Body&& body) noexcept {
  const int code = guarded(
      body, [&](const char* message, const auto& subject) { fault.failed_with(message, subject); });
  if (code == 0) fault.succeeded();
  return code;
}

// The kinds of requests that one library serves.
struct RequestFaults {
  Fault reads{"reads"};
  Fault writes{"writes"};
  Fault flushes{"flushes"};
  Fault trims{"trims"};
  Fault zeros{"zeros"};
  Fault extents{"questions for extents"};
  Fault cache{"requests to cache"};

  // Called when the server ends.
  void end() noexcept {
    for (Fault* fault : {&reads, &writes, &flushes, &trims, &zeros, &extents, &cache}) fault->end();
  }
};

// For callbacks that return a number: returns it, or -1 on failure.
template <typename Result, typename Body>
Result guarded_result(Body&& body) noexcept {
  Result result = -1;
  return guarded([&] { result = body(); }) == 0 ? result : Result{-1};
}

// Called by each of our libraries when it is loaded: connects log::error and log::debug to nbdkit's
// log, and makes a file that exceeds the process's limit (RLIMIT_FSIZE) a write that fails with
// EFBIG, not a signal that ends the server.
void prepare_process();

}  // namespace nbdstack
