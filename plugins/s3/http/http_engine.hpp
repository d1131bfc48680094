// The engine under HttpClient. It has no thread: a caller runs its own request.
//
//   a caller, in perform()       what it needs                          owned by
//   enters                       that the engine is not being destroyed counted here
//   waits for its turn           a place                                TransferPlaces
//   takes a lane                 the one used last, so that a light     lent by the engine to one
//                                load keeps few connections             caller at a time
//   runs the request, and the    the lane: libcurl, connections,        transfer_lane.hpp
//     second one of a late GET   sockets
//   gives the lane back          (also where an exception passes)
//   leaves its place             the next caller is woken               TransferPlaces
//   leaves
//
// So a request costs one wait, in poll(2) for its own socket, and threads wake each other only for
// a place. Callers share places and bandwidth, to spare the service. There are never more lanes
// than places, nor more connections kept than twice as many.
//
// Over HTTP/2, too, a connection carries one request at a time: a thread that multiplexes them
// costs two context switches a request, and can use only one processor.
//
// No lock is held while libcurl works or a caller waits. A caller's exceptions are its own.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/http/http_client.hpp"
#include "plugins/s3/http/transfer_direction.hpp"
#include "plugins/s3/http/transfer_lane.hpp"
#include "plugins/s3/http/transfer_places.hpp"

namespace nbdstack {

class HttpEngine {
 public:
  explicit HttpEngine(const HttpClientConfig& config);
  HttpEngine(const HttpEngine&) = delete;
  HttpEngine& operator=(const HttpEngine&) = delete;
  // Waits for the callers, whose requests end with ESHUTDOWN within TransferLife::kAskEvery.
  ~HttpEngine();

  HttpOutcome perform(const HttpRequest& request, Duration time_limit);

 private:
  class Visit;
  class Loan;

  const HttpClientConfig config_;
  std::atomic<bool> stopping_{false};  // set with the mutex held
  TransferDirections directions_;
  TransferPlaces places_;
  TrustedCertificates certificates_;

  Mutex mutex_;
  ConditionVariable no_caller_left_;
  unsigned callers_ GUARDED_BY(mutex_) = 0;
  // The last one was used last.
  std::vector<std::unique_ptr<TransferLane>> idle_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
