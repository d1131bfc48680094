// What HttpClient promises about single requests, whatever the engine below does for it.
#include "plugins/s3/http/http_client.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;
using testing::answer;
using testing::hang_up;
using Kind = TransportFailure::Kind;

class HttpClientTest : public ::testing::Test {
 protected:
  HttpClient& client() {
    if (!client_) client_ = std::make_unique<HttpClient>(config);
    return *client_;
  }
  HttpRequest get(const std::string& path = "/k") {
    HttpRequest request{.method = "GET", .url = server.url() + path};
    request.buffer_status = 200;
    request.buffer = buffer;
    return request;
  }
  HttpRequest put(const std::string& body) const {
    HttpRequest request{.method = "PUT", .url = server.url() + "/k"};
    request.body = std::as_bytes(std::span(body));
    return request;
  }
  HttpOutcome perform(const HttpRequest& request) { return client().perform(request, seconds(30)); }
  int status_of(const HttpRequest& request) {
    const HttpOutcome outcome = perform(request);
    const auto* const response = std::get_if<HttpResponse>(&outcome);
    return response == nullptr ? 0 : response->status;
  }
  Kind failure_of(const HttpRequest& request) {
    const HttpOutcome outcome = perform(request);
    EXPECT_TRUE(std::holds_alternative<TransportFailure>(outcome));
    return std::get<TransportFailure>(outcome).kind;
  }
  int errno_of(const HttpRequest& request) {
    try {
      perform(request);
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  }
  [[nodiscard]] std::string received(std::size_t size) const {
    return {reinterpret_cast<const char*>(buffer.data()), size};
  }

  testing::ScriptedHttpServer server;
  HttpClientConfig config;
  std::array<std::byte, 8> buffer{};

 private:
  std::unique_ptr<HttpClient> client_;
};

TEST_F(HttpClientTest, BodyGoesToTheBufferAndHeadersAreKept) {
  server.then(answer(200, "12345678", {{"ETag", "  \"x\"  "}}));
  const HttpOutcome outcome = perform(get());
  const auto& response = std::get<HttpResponse>(outcome);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.buffered_bytes, 8U);
  EXPECT_EQ(response.header("etag"), "\"x\"");
  EXPECT_EQ(response.header("date"), std::nullopt);
  EXPECT_EQ(received(8), "12345678");
}

TEST_F(HttpClientTest, BodyOfAnotherStatusIsText) {
  server.then(answer(404, "<Error/>"));
  const HttpOutcome outcome = perform(get());
  EXPECT_EQ(std::get<HttpResponse>(outcome).text, "<Error/>");
  EXPECT_EQ(std::get<HttpResponse>(outcome).buffered_bytes, 0U);
}

TEST_F(HttpClientTest, TextIsCutAtItsLimit) {
  server.then(answer(500, "123456789"));
  HttpRequest request = get();
  request.text_limit = 4;
  const HttpOutcome outcome = perform(request);
  EXPECT_EQ(std::get<HttpResponse>(outcome).text, "1234");
  EXPECT_TRUE(std::get<HttpResponse>(outcome).text_cut);
}

TEST_F(HttpClientTest, BodiesAreSentAndEmptyOnesToo) {
  const std::string big(1 << 20, 'x');
  for (const std::string& body : {std::string("small"), std::string(), big}) {
    server.then(answer(200));
    EXPECT_EQ(status_of(put(body)), 200);
    EXPECT_EQ(server.requests().back().body, body);
    EXPECT_EQ(server.requests().back().header("content-length"), std::to_string(body.size()));
    EXPECT_EQ(server.requests().back().header("content-type"), "");
    EXPECT_EQ(server.requests().back().header("expect"), "");
  }
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpClientTest, AHandleServesEveryMethodInTurn) {
  for (const char* method : {"GET", "PUT", "DELETE", "POST", "GET"}) {
    server.then(answer(200));
    HttpRequest request{.method = method, .url = server.url() + "/a/../b//c"};
    EXPECT_EQ(status_of(request), 200);
    EXPECT_EQ(server.requests().back().line, fmt::format("{} /a/../b//c HTTP/1.1", method));
  }
}

TEST_F(HttpClientTest, BodyBeyondTheBufferIsAFailureThatStays) {
  server.then(answer(200, "123456789"));
  EXPECT_EQ(failure_of(get()), Kind::too_long);
}

TEST_F(HttpClientTest, BodyShorterThanAnnouncedIsAFailure) {
  server.then(answer(200, "12345678").close_after(3));
  EXPECT_EQ(failure_of(get()), Kind::connection);
}

// libcurl is content with an answer that ends after its first header.
TEST_F(HttpClientTest, AnswerThatEndsAmongItsHeadersIsAFailure) {
  for (const std::string beginning : {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n",
                                      "HTTP/1.1 404 Not Found\r\nContent-Le"}) {
    server.then(testing::raw_answer(beginning));
    EXPECT_EQ(failure_of(get()), Kind::connection) << beginning;
  }
}

TEST_F(HttpClientTest, RedirectsAreNotFollowed) {
  server.then(answer(302, "", {{"Location", "/elsewhere"}}));
  EXPECT_EQ(status_of(get()), 302);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(HttpClientTest, FailuresAreOfTheirKindAndLeaveTheClientFit) {
  HttpRequest elsewhere = get();
  const std::string unresolvable = "http://" + std::string(64, 'a') + ".invalid/";  // a long label
  for (const auto& [url, kind] : {std::pair(std::string("http://127.0.0.1:1/"), Kind::connection),
                                  std::pair(unresolvable, Kind::connection),
                                  std::pair(std::string("ftp://127.0.0.1/"), Kind::connection),
                                  std::pair(std::string("http://[/"), Kind::setup)}) {
    elsewhere.url = url;
    EXPECT_EQ(failure_of(elsewhere), kind) << url;
  }
  server.then(hang_up());
  EXPECT_EQ(failure_of(get()), Kind::connection);
  server.then(answer(200));
  EXPECT_EQ(status_of(get()), 200);
}

TEST_F(HttpClientTest, SilenceIsATimeout) {
  config.stall_timeout = seconds(1);
  server.then(answer(200, "12345678").stall_after(3));
  EXPECT_EQ(failure_of(get()), Kind::timeout);
}

TEST_F(HttpClientTest, TheRequestsOwnLimitIsATimeout) {
  server.then(answer(200, "12345678").stall_after(3));
  const HttpOutcome outcome = client().perform(get(), std::chrono::milliseconds(100));
  EXPECT_EQ(std::get<TransportFailure>(outcome).kind, Kind::timeout);
  const HttpOutcome at_once = client().perform(get(), Duration::zero());
  EXPECT_EQ(std::get<TransportFailure>(at_once).kind, Kind::timeout);
}

TEST_F(HttpClientTest, NoThreadStartsBeforeTheFirstRequest) {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const auto before = threads();
  client();
  EXPECT_EQ(threads(), before);
}

TEST_F(HttpClientTest, WhatIsOverIsNotBegun) {
  HttpRequest request = get();
  request.is_over = [] { return true; };
  EXPECT_EQ(errno_of(request), ESHUTDOWN);
  EXPECT_EQ(server.requests().size(), 0U);
}

TEST_F(HttpClientTest, WhatMayNotBeSentIsNotSent) {
  const std::string body(4 << 20, 'x');
  for (const int allowed : {0, 1, 3}) {  // before the request, before its body, amid its body
    server.then(answer(200));
    HttpRequest request = put(body);
    request.may_send = [allowed, asked = 0]() mutable { return asked++ < allowed; };
    EXPECT_EQ(errno_of(request), ESHUTDOWN);
    EXPECT_EQ(server.requests().size(), 0U);
  }
  HttpRequest request = put(body);
  request.may_send = [] { return true; };
  EXPECT_EQ(status_of(request), 200);
  EXPECT_EQ(server.requests().back().body, body);
}

TEST_F(HttpClientTest, WhatBecomesOverEndsInFlightAndInTheQueue) {
  config.connections = 1;
  std::atomic<bool> over{false};
  for (int i = 0; i < 2; ++i) server.then(answer(200, "12345678").stall_after(3));
  HttpRequest request = get();
  request.is_over = [&over] { return over.load(); };
  std::thread first([&] { EXPECT_EQ(errno_of(request), ESHUTDOWN); });
  while (server.requests().empty()) std::this_thread::yield();
  std::thread second([&] { EXPECT_EQ(errno_of(request), ESHUTDOWN); });
  over = true;
  first.join();
  second.join();
}

TEST_F(HttpClientTest, AnExceptionOfIsOverEndsTheRequest) {
  server.then(answer(200, "12345678").stall_after(3));
  HttpRequest request = get();
  request.is_over = [this] {
    if (!server.requests().empty()) throw std::runtime_error("asked in vain");
    return false;
  };
  EXPECT_THROW(perform(request), std::runtime_error);
}

TEST_F(HttpClientTest, TheEndOfTheClientEndsItsRequests) {
  auto mortal = std::make_unique<HttpClient>(HttpClientConfig{.connections = 1});
  server.then(answer(200, "12345678").stall_after(3));
  HttpRequest request = get();
  const auto errno_of_mortal = [&request, client = mortal.get()] {
    try {
      client->perform(request, seconds(30));
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  };
  std::thread in_flight([&] { EXPECT_EQ(errno_of_mortal(), ESHUTDOWN); });
  while (server.requests().empty()) std::this_thread::yield();
  mortal.reset();
  in_flight.join();
}

TEST_F(HttpClientTest, AFreshConnectionIsAFreshOne) {
  for (int i = 0; i < 3; ++i) server.then(answer(200));
  const std::string body = "x";
  HttpRequest request = put(body);
  perform(request);
  request.fresh_connection = true;
  perform(request);
  EXPECT_EQ(server.connections(), 2U);
  request.fresh_connection = false;
  perform(request);
  EXPECT_EQ(server.connections(), 2U);
}

// What libcurl reads from the environment, for as long as the object lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { unsetenv(name_); }

 private:
  const char* const name_;
};

TEST_F(HttpClientTest, ProxiesOfTheEnvironmentAreUsed) {
  const Environment proxy("http_proxy", server.url());
  server.then(answer(200, "12345678"));
  HttpRequest request = get();
  request.url = "http://bucket.invalid/k";
  EXPECT_EQ(status_of(request), 200);
  EXPECT_EQ(server.requests().at(0).line, "GET http://bucket.invalid/k HTTP/1.1");
  const Environment exception("no_proxy", "bucket.invalid");
  EXPECT_EQ(failure_of(request), Kind::connection);
  EXPECT_EQ(server.requests().size(), 1U);
}

}  // namespace
}  // namespace nbdstack
