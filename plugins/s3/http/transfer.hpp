// One exchange of a request and its answer over a libcurl handle.
//
//   state       entered by   holds
//   idle        (new)        a handle, or none after a failure
//   under way   prepare()    the handle carries the request; the lane adds it to its multi handle
//   idle        finish()     the outcome; the lane has removed the handle before
//               abandon()    nothing, because the lane ended it
//
// This decides what HTTP alone can decide: the options of a request, the handling and bounds of
// headers and bodies, and the meaning of libcurl's result. The body of an answer is copied from
// libcurl's buffer to the caller's; a sent body is read from the caller's.
//
// A transfer that may not send or receive for now, because of a bandwidth limit or because enough
// bytes are in flight (send_pace.hpp), pauses itself; the lane resumes it.
//
// The request, the buffer and the directions must outlive the exchange. Not thread-safe: its owner
// is the lane.
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/sync/clock.hpp"
#include "plugins/s3/http/http_client.hpp"
#include "plugins/s3/http/receive_pace.hpp"
#include "plugins/s3/http/send_pace.hpp"
#include "plugins/s3/http/socket_progress.hpp"
#include "plugins/s3/http/transfer_direction.hpp"
#include "plugins/s3/http/trusted_certificates.hpp"

namespace nbdstack {

class Transfer {
 public:
  // All arguments outlive this.
  Transfer(const HttpClientConfig& config, TransferDirections& directions,
           TrustedCertificates& certificates)
      : config_(config), directions_(directions), certificates_(certificates) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() { curl_easy_cleanup(handle_); }

  // `buffer` replaces the request's own.
  void prepare(const HttpRequest& request, std::span<std::byte> buffer, bool fresh_connection,
               TimePoint now);
  HttpOutcome finish(CURLcode code);
  // The connection is not used again.
  void abandon();

  [[nodiscard]] CURL* handle() const { return handle_; }
  static Transfer& of(CURL* handle);

  // Sets the socket that carries the exchange now.
  void uses(curl_socket_t socket) { socket_ = socket; }
  // Called when the headers have come, and the body has not: see acknowledge_now().
  void acknowledge_headers();

  [[nodiscard]] bool is_paused() const { return is_held_back() || resume_at_.has_value(); }
  // Returns the time at which to resume a paused transfer.
  [[nodiscard]] TimePoint resume_due(TimePoint now) const;
  // Continues after a pause, and may pause again at once. Unless the result is CURLE_OK, the
  // exchange is over: libcurl reports that here and nowhere else.
  CURLcode resume();

  [[nodiscard]] bool is_under_way() const { return request_ != nullptr; }
  // Returns whether all of the request may have been sent.
  [[nodiscard]] bool may_have_arrived() const;
  // Returns whether the request's may_send returned false: nothing more was sent.
  [[nodiscard]] bool is_forbidden() const { return forbidden_; }
  [[nodiscard]] TimePoint begun() const { return begun_; }
  [[nodiscard]] bool has_first_byte() const { return first_byte_ != TimePoint{}; }
  [[nodiscard]] TimePoint first_byte() const { return first_byte_; }

  // The events since the last look; to be called regularly.
  struct Look {
    std::uint64_t moved_bytes = 0;
    // Bytes of the request, or of an answer that is no failure, or it is held back.
    bool gets_on = false;
    bool is_on_its_way = false;  // it connects, or sent bytes are not acknowledged yet
  };
  Look look(TimePoint now);
  // The time without bytes in either direction, though none was held back; as of the last look.
  [[nodiscard]] Duration silence(TimePoint now) const { return now - moved_; }
  // Returns whether it was slower than kCrawl_bytes_s for too long, as of the last look.
  [[nodiscard]] bool crawls() const;

 private:
  void make_handle();
  void set_request(const HttpRequest& request, bool fresh_connection);
  void set_headers(const HeaderList& headers);
  void end_pauses();
  // By a bandwidth limit, so that its silence is ours.
  [[nodiscard]] bool is_held_back() const { return up_paused_ || down_paused_; }
  void pause(bool& flag, TransferDirection& direction);
  void pace_receiving(const SocketProgress& progress, TimePoint now);
  void clear();
  bool may_send();

  std::size_t take_header(std::string_view line);
  std::size_t take_body(std::span<const std::byte> piece);
  std::size_t give_body(std::span<std::byte> room);

  static std::size_t on_header(const char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(const char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_upload(char* room, std::size_t size, std::size_t count, void* self);
  static int on_connected(void* self, char* their_address, char* our_address, int their_port,
                          int our_port);
  static int on_seek(void* self, curl_off_t offset, int origin);

  const HttpClientConfig& config_;
  TransferDirections& directions_;
  TrustedCertificates& certificates_;
  CURL* handle_ = nullptr;  // none before the first request and after a failure
  std::array<char, CURL_ERROR_SIZE> words_{};
  std::vector<std::string> header_lines_;  // kept for their memory
  std::vector<curl_slist> header_nodes_;

  const HttpRequest* request_ = nullptr;  // null while idle
  std::span<std::byte> buffer_;
  HttpResponse response_;
  std::size_t header_bytes_ = 0;
  bool headers_ended_ = false;
  std::size_t sent_bytes_ = 0;
  bool sent_twice_ = false;
  bool too_long_ = false;
  bool forbidden_ = false;
  bool up_paused_ = false;
  bool down_paused_ = false;
  SendPace pace_;
  ReceivePace receive_pace_;
  std::optional<TimePoint> resume_at_;  // enough bytes are in flight until then

  curl_socket_t socket_ = CURL_SOCKET_BAD;
  bool acknowledged_ = false;

  TimePoint begun_{};
  TimePoint first_byte_{};
  // As of the last look.
  TimePoint looked_{};
  TimePoint moved_{};    // when there was progress
  Duration may_move_{};  // the time in which it could move: connected, and not held back
  curl_socket_t counted_socket_ = CURL_SOCKET_BAD;
  std::uint64_t counted_bytes_ = 0;  // moved on that socket
};

}  // namespace nbdstack
