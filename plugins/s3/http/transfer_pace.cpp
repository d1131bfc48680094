// The progress of a transfer: its pauses, and the kernel's figures of its connection.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "plugins/s3/http/socket_progress.hpp"
#include "plugins/s3/http/transfer.hpp"

namespace nbdstack {
namespace {

// A server that leaves Nagle's algorithm on (Ceph RGW does) sends a small body only when its
// headers are acknowledged, which Linux delays by 40 ms on a connection in steady use: 46 ms for
// each ranged GET of 4 KiB were measured without this.
void acknowledge_now(curl_socket_t socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

}  // namespace

void Transfer::pause(bool& flag, TransferDirection& direction) {
  if (!std::exchange(flag, true)) direction.pause();
}

void Transfer::end_pauses() {
  if (std::exchange(up_paused_, false)) directions_.up.go_on();
  if (std::exchange(down_paused_, false)) directions_.down.go_on();
  resume_at_.reset();
}

void Transfer::acknowledge_headers() {
  if (!headers_ended_ || acknowledged_ || socket_ == CURL_SOCKET_BAD) return;
  acknowledged_ = true;
  acknowledge_now(socket_);
}

TimePoint Transfer::resume_due(TimePoint now) const {
  TimePoint due = resume_at_.value_or(TimePoint::max());
  if (up_paused_) due = std::min(due, directions_.up.ready_at(now));
  if (down_paused_) due = std::min(due, directions_.down.ready_at(now));
  return due;
}

CURLcode Transfer::resume() {
  end_pauses();
  return curl_easy_pause(handle_, CURLPAUSE_CONT);
}

// Silence does not count before the connection is there, which has a limit of its own.
Transfer::Look Transfer::look(TimePoint now) {
  const Duration passed = now - std::exchange(looked_, now);
  curl_off_t connected_us = 0;
  curl_easy_getinfo(handle_, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
  const auto progress = socket_progress(socket_);
  if (connected_us == 0 || !progress.has_value()) {
    moved_ = now;
    return {.is_on_its_way = true};
  }
  pace_receiving(*progress, now);
  Look look{.is_on_its_way = progress->unacknowledged_bytes > 0};
  const bool is_first = std::exchange(counted_socket_, socket_) != socket_;
  const std::uint64_t before = std::exchange(counted_bytes_, progress->moved_bytes);
  if (!is_first && progress->moved_bytes > before)
    look.moved_bytes = progress->moved_bytes - before;
  const bool is_no_failure = !has_first_byte() || response_.status < 300;
  look.gets_on = (look.moved_bytes > 0 && is_no_failure) || is_held_back();
  if (!is_held_back()) may_move_ += passed;
  if (is_first || look.moved_bytes > 0 || is_held_back()) moved_ = now;
  return look;
}

void Transfer::pace_receiving(const SocketProgress& progress, TimePoint now) {
  if (!headers_ended_) return;
  const auto window = receive_pace_.window({.received_bytes = progress.received_bytes,
                                            .shortest_round_trip = progress.round_trip,
                                            .round_trip = progress.receive_round_trip,
                                            .window_bytes = receive_window_bytes(socket_)},
                                           now);
  if (window) limit_receive_window(socket_, *window);
}

bool Transfer::crawls() const {
  const std::size_t bytes = request_->body.size() + std::max(buffer_.size(), response_.text.size());
  return may_move_ >= config_.crawl_timeout + std::chrono::seconds(bytes / kCrawl_bytes_s);
}

}  // namespace nbdstack
