// Runs the request of a caller with a libcurl of its own and the connections that it has kept.
//
//   the caller's thread, in run()
//     begins the exchange
//     until there is an outcome:
//       checks regularly whether the request is over
//       calls libcurl, when that is due or a socket is ready
//       checks the exchange: for progress, for a stall, for lateness, for the end of a pause
//       waits for the sockets and for whatever is due next
//     leaves the lane without an exchange, also by an exception
//
// A GET that is unusually late is sent a second time (transfer_hedging.hpp), on a fresh connection
// and into a buffer of its own:
//
//   first        second       event
//   under way    idle         the first is late, and a place is free: the second begins
//   under way    under way    a useful answer of either: the other is ended, this is the outcome
//                             any other end: that exchange is over, the other one continues
//   one of them               its end is the outcome
//
// One thread at a time uses a lane; the engine decides which. Lanes share only the bandwidth
// (TransferDirections) and the places (TransferPlaces), which have their own locks; none is held
// while libcurl works.
#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/sync/clock.hpp"
#include "plugins/s3/http/http_client.hpp"
#include "plugins/s3/http/transfer.hpp"
#include "plugins/s3/http/transfer_direction.hpp"
#include "plugins/s3/http/transfer_life.hpp"
#include "plugins/s3/http/transfer_places.hpp"
#include "plugins/s3/http/transfer_queue.hpp"
#include "plugins/s3/http/transfer_sockets.hpp"

namespace nbdstack {

class TransferLane {
 public:
  // All arguments outlive this.
  TransferLane(const HttpClientConfig& config, TransferDirections& directions,
               TransferPlaces& places, TrustedCertificates& certificates);
  TransferLane(const TransferLane&) = delete;
  TransferLane& operator=(const TransferLane&) = delete;
  ~TransferLane() = default;

  // The caller has a place for it. Throws Error(ESHUTDOWN) when the request is over, and is_over's
  // exceptions; then the request's memory is not used any more.
  HttpOutcome run(const HttpRequest& request, TransferClass its_class, TransferLife& life);

 private:
  struct MultiCleanup {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  class Run;

  void begin(Transfer& transfer, std::span<std::byte> buffer, bool fresh_connection, TimePoint now);
  void drop(Transfer& transfer);
  void end_run();

  void turn(TransferLife& life);
  void wait_and_serve(const TransferLife& life, TimePoint now);
  void reap();
  void settle(Transfer& transfer, HttpOutcome outcome);
  void learn(const Transfer& transfer, const HttpOutcome& outcome);
  void learn_overload(const Transfer& transfer, TimePoint now);

  void look_after(Transfer& transfer, TransferLife& life, TimePoint now);
  void give_up(Transfer& transfer, std::string why, bool is_overload, TimePoint now);
  void resume_if_due(Transfer& transfer, TimePoint now);
  void repeat_if_late(TimePoint now);

  static int on_socket(CURL* handle, curl_socket_t socket, int what, void* self, void* unused);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);

  const HttpClientConfig& config_;
  TransferDirections& directions_;
  TransferPlaces& places_;

  TransferSockets sockets_;
  std::unique_ptr<CURLM, MultiCleanup> multi_;
  Transfer first_;  // after the multi handle, so that it is destroyed first
  Transfer second_;
  TimePoint curl_due_ = TimePoint::max();  // when libcurl wants to be called

  // These members belong to the run.
  const HttpRequest* request_ = nullptr;
  TransferClass class_ = TransferClass::small;
  TimePoint begun_{};
  TimePoint look_due_{};  // the next time to check the exchanges
  bool was_repeated_ = false;
  std::optional<TransferPlaces::Place> second_place_;
  std::vector<std::byte> second_buffer_;
  std::optional<HttpOutcome> outcome_;
};

}  // namespace nbdstack
