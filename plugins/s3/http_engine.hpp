// The engine under HttpClient: one thread that runs all requests over one multiplexed libcurl.
//
//   caller                              engine's thread
//   perform(): hands its request over   queued in its class        (transfer_queue.hpp)
//     and waits for the outcome         in flight, once or twice   (transfer.hpp)
//     asks is_over now and then         settled: the caller wakes
//     takes the outcome
//
// A GET that is unusually late is sent a second time (transfer_hedging.hpp), on a fresh connection
// and into a buffer of its own. The first useful answer wins, the other exchange is ended; a
// failure counts only when there is no other exchange left. No GET is repeated where the requests
// in flight are limited (in_flight_limit.hpp), where no place is free, or where a bandwidth limit
// holds transfers back: all of these make requests late by our own doing.
//
// libcurl's socket interface is used with epoll instead of curl_multi_poll, which asks about every
// connection at every turn: the cost of an event is then that of its own transfer.
//
// The mutex protects the inbox and nothing else; no lock is held while libcurl works. A caller's
// Pending is on its stack: the engine's thread touches it only until it has marked it done.
#pragma once

#include <curl/curl.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/sync/clock.hpp"
#include "plugins/s3/http_client.hpp"
#include "plugins/s3/in_flight_limit.hpp"
#include "plugins/s3/transfer.hpp"
#include "plugins/s3/transfer_hedging.hpp"
#include "plugins/s3/transfer_queue.hpp"
#include "plugins/s3/transfer_sockets.hpp"

namespace nbdstack {

class HttpEngine {
 public:
  // Starts the thread.
  explicit HttpEngine(const HttpClientConfig& config);
  HttpEngine(const HttpEngine&) = delete;
  HttpEngine& operator=(const HttpEngine&) = delete;
  // Ends requests that are still under way with ESHUTDOWN and waits for their callers to leave.
  ~HttpEngine();

  HttpOutcome perform(const HttpRequest& request, Duration time_limit);

 private:
  struct Pending;
  struct Exchange;  // a transfer and whose it is
  struct Message;
  struct MultiCleanup {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };

  // The caller's thread.
  void hand_over(Pending& pending);
  void await(Pending& pending);
  void give_up(const Pending& pending, bool only_waiting);
  void leave();

  // The engine's thread, from here on.
  void run();
  bool take_messages();
  void enqueue(Pending& pending);
  void begin_waiting();
  void call_when_due();
  void wait_and_serve();
  bool reap();
  void end_everything();

  void begin(Pending& pending, bool as_hedge);
  void abandon(std::uint64_t id, bool only_waiting);
  void settle(Exchange& exchange, HttpOutcome outcome);
  void learn(const Exchange& exchange, const HttpOutcome& outcome, TimePoint now);
  void drop(Exchange* exchange);
  void recycle(Exchange& exchange);

  void look_after_transfers(TimePoint now);
  [[nodiscard]] bool may_hedge() const;
  void hedge_if_late(Exchange& exchange, TimePoint now);
  void resume_paused(TransferDirection& direction, TimePoint now);
  int patience_ms(TimePoint now);

  static int on_socket(CURL* handle, curl_socket_t socket, int what, void* self, void* unused);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);
  static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_close(void* self, curl_socket_t socket);

  const HttpClientConfig config_;

  std::mutex mutex_;  // protects what follows, up to the next blank line
  std::condition_variable nobody_left_;
  std::vector<Message> inbox_;
  bool asleep_ = false;  // the engine's thread waits, or is about to, and has to be woken
  bool stopping_ = false;
  unsigned callers_ = 0;
  std::uint64_t last_id_ = 0;

  TransferSockets sockets_;
  TransferDirections directions_;
  std::unique_ptr<CURLM, MultiCleanup> multi_;
  std::vector<Message> messages_;                     // taken from the inbox
  TransferQueue<Pending*> queue_;                     // who waits
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // all, in use or not
  std::vector<Exchange*> idle_;                       // the last was used last
  std::vector<Exchange*> active_;
  InFlightLimit limit_;
  TransferHedging hedging_;
  TimePoint curl_due_ = TimePoint::max();  // when libcurl wants to be called
  TimePoint look_due_{};                   // when transfers are to be looked after
  bool again_ = false;                     // there is more to do before the next wait

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
