// An HTTP server on loopback that answers what the test has written down, request by request.
//
//   ScriptedHttpServer server({answer(503), answer(200, "body").close_after(2)});
//
// Answers are given in the order in which requests arrive, over however many connections. A request
// beyond the script is answered 400 ScriptEnded, which nobody tries again.
#pragma once

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"

namespace nbdstack::testing {

// What goes over the wire for one request, and what becomes of the connection.
struct Answer {
  std::string head;
  std::string body;
  std::size_t body_bytes = std::numeric_limits<std::size_t>::max();  // how much of it is sent
  bool closes = false;
  bool stalls = false;                 // sends no more, but keeps the connection
  std::chrono::milliseconds drips{0};  // between one byte of the body and the next
  std::function<void()> before;        // called when the request is there, before the answer

  // Sends `count` bytes of the body, then closes: the rest never comes.
  Answer close_after(std::size_t count) && {
    body_bytes = count;
    closes = true;
    return std::move(*this);
  }
  // Sends `count` bytes of the body, then nothing.
  Answer stall_after(std::size_t count) && {
    body_bytes = count;
    stalls = true;
    return std::move(*this);
  }
  Answer drip(std::chrono::milliseconds pause) && {
    drips = pause;
    return std::move(*this);
  }
  Answer when_asked(std::function<void()> callback) && {
    before = std::move(callback);
    return std::move(*this);
  }
};

using AnswerHeaders = std::vector<std::pair<std::string, std::string>>;

inline Answer answer(int status, const std::string& body = "", const AnswerHeaders& headers = {}) {
  Answer made;
  made.head = fmt::format("HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n", status, body.size());
  for (const auto& [name, value] : headers) made.head += fmt::format("{}: {}\r\n", name, value);
  made.head += "\r\n";
  made.body = body;
  return made;
}

// An S3 error document.
inline Answer error_answer(int status, const std::string& code, const AnswerHeaders& headers = {}) {
  return answer(status,
                fmt::format("<Error><Code>{}</Code><Message>scripted</Message></Error>", code),
                headers);
}

// Closes without a word.
inline Answer hang_up() {
  Answer made;
  made.closes = true;
  return made;
}

// Exactly these bytes, then closes.
inline Answer raw_answer(const std::string& bytes) {
  Answer made;
  made.head = bytes;
  made.closes = true;
  return made;
}

struct SeenRequest {
  std::string line;  // "GET /bucket/key HTTP/1.1"
  std::string head;  // header lines, as they came
  std::string body;

  // Empty where there is none.
  [[nodiscard]] std::string header(const std::string& name) const {
    std::string lower = head;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::size_t found = lower.find("\r\n" + name + ": ");
    if (found == std::string::npos) return {};
    const std::size_t begin = found + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class ScriptedHttpServer {
 public:
  explicit ScriptedHttpServer(std::vector<Answer> script = {})
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        script_(script.begin(), script.end()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_, any, length) != 0 || listen(listener_, 64) != 0 ||
        getsockname(listener_, any, &length) != 0) {
      throw system_error(errno, "scripted HTTP server");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_connections(); });
  }
  ScriptedHttpServer(const ScriptedHttpServer&) = delete;
  ScriptedHttpServer& operator=(const ScriptedHttpServer&) = delete;

  ~ScriptedHttpServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int each : sockets_) shutdown(each, SHUT_RDWR);
    }
    for (std::thread& each : connections_) each.join();
    for (const int each : sockets_) ::close(each);
    ::close(listener_);
  }

  void then(Answer next) {
    const std::lock_guard lock(mutex_);
    script_.push_back(std::move(next));
  }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  [[nodiscard]] std::vector<SeenRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  [[nodiscard]] std::size_t connections() const {
    const std::lock_guard lock(mutex_);
    return sockets_.size();
  }

 private:
  void accept_connections() {
    while (!stopping_) {
      const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket < 0) continue;
      const std::lock_guard lock(mutex_);
      sockets_.push_back(socket);
      connections_.emplace_back([this, socket] { serve(socket); });
    }
  }

  // Until the client or the script ends the connection. Sockets stay open until the server goes, so
  // that no descriptor is used twice.
  void serve(int socket) {
    std::string received;
    SeenRequest request;
    while (receive(socket, received, request)) {
      const Answer next = next_answer(request);
      if (next.before) next.before();
      if (!send_answer(socket, next)) return;
      if (next.closes) {
        shutdown(socket, SHUT_RDWR);
        return;
      }
      if (next.stalls) return;
    }
  }

  Answer next_answer(const SeenRequest& request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    if (script_.empty()) return error_answer(400, "ScriptEnded");
    Answer next = std::move(script_.front());
    script_.pop_front();
    return next;
  }

  static bool receive_more(int socket, std::string& received) {
    std::array<char, 65536> buffer{};
    const ssize_t count = recv(socket, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    received.append(buffer.data(), static_cast<std::size_t>(count));
    return true;
  }

  static bool receive(int socket, std::string& received, SeenRequest& request) {
    std::size_t head_end = 0;
    while ((head_end = received.find("\r\n\r\n")) == std::string::npos) {
      if (!receive_more(socket, received)) return false;
    }
    const std::size_t line_end = received.find("\r\n");
    request.line = received.substr(0, line_end);
    request.head = received.substr(line_end, head_end + 2 - line_end);
    received.erase(0, head_end + 4);
    const std::string length_text = request.header("content-length");
    const std::size_t length = length_text.empty() ? 0 : std::stoul(length_text);
    while (received.size() < length) {
      if (!receive_more(socket, received)) return false;
    }
    request.body = received.substr(0, length);
    received.erase(0, length);
    return true;
  }

  static bool send_answer(int socket, const Answer& answer) {
    const std::string body = answer.body.substr(0, answer.body_bytes);
    if (answer.drips.count() == 0) return send_all(socket, answer.head + body);
    if (!send_all(socket, answer.head)) return false;
    for (const char each : body) {
      std::this_thread::sleep_for(answer.drips);
      if (!send_all(socket, std::string(1, each))) return false;
    }
    return true;
  }

  static bool send_all(int socket, const std::string& text) {
    std::size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t count = send(socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return false;
      sent += static_cast<std::size_t>(count);
    }
    return true;
  }

  std::atomic<bool> stopping_{false};
  const int listener_;
  std::uint16_t port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;  // protects what follows
  std::deque<Answer> script_;
  std::vector<SeenRequest> requests_;
  std::vector<int> sockets_;
  std::vector<std::thread> connections_;
};

// A gate that a test opens: who waits at it, waits until then.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void await_arrivals(unsigned count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }

 private:
  std::mutex mutex_;  // protects what follows
  std::condition_variable changed_;
  bool open_ = false;
  unsigned arrived_ = 0;
};

}  // namespace nbdstack::testing
