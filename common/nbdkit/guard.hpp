// The one place where exceptions end: inside a callback of nbdkit they would end the server.
#pragma once

#include <nbdkit-filter.h>

#include <cerrno>
#include <exception>
#include <new>

#include "common/error.hpp"

namespace nbdstack {

// nbdkit_error, of one line (quoted_name.hpp).
void report(const char* message) noexcept;

// Runs `body`. Returns 0, or the errno of what it threw, which has been logged then.
template <typename Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    if (!error.is_reported()) report(error.what());
    return error.code();
  } catch (const std::bad_alloc&) {
    nbdkit_error("out of memory");
    return ENOMEM;
  } catch (const std::exception& error) {
    nbdkit_error("unexpected: %s", error.what());
    return EIO;
  } catch (...) {
    nbdkit_error("unexpected failure of unknown type");
    return EIO;
  }
}

// For callbacks that answer with a number: the number, or -1.
template <typename Result, typename Body>
Result guarded_result(Body&& body) noexcept {
  Result result = -1;
  return guarded([&] { result = body(); }) == 0 ? result : Result{-1};
}

// What every library of ours does when it is loaded: nbdkit's log stands behind log::error and
// log::debug, and a file that grows past the process's limit (RLIMIT_FSIZE) is a write that fails
// with EFBIG, not a signal that ends the server.
void prepare_process();

}  // namespace nbdstack
