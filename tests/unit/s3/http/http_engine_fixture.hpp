// A client whose requests a server answers as the test has written down.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "plugins/s3/http/http_client.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"

namespace nbdstack::testing {

class HttpEngineFixture : public ::testing::Test {
 protected:
  HttpClient& client() {
    if (!client_) client_ = std::make_unique<HttpClient>(config);
    return *client_;
  }
  [[nodiscard]] HttpRequest get_request(std::span<std::byte> buffer) const {
    HttpRequest request{.method = "GET", .url = server.url() + "/k"};
    request.buffer_status = 200;
    request.buffer = buffer;
    return request;
  }
  int get(std::span<std::byte> buffer) {
    return status_of(client().perform(get_request(buffer), std::chrono::seconds(30)));
  }
  int put(const std::string& sent) {
    HttpRequest request{.method = "PUT", .url = server.url() + "/k"};
    request.body = std::as_bytes(std::span(sent));
    return status_of(client().perform(request, std::chrono::seconds(30)));
  }
  static int status_of(const HttpOutcome& outcome) {
    const auto* const response = std::get_if<HttpResponse>(&outcome);
    return response == nullptr ? 0 : response->status;
  }
  // Enough for the engine to know what is usual.
  void learn() {
    for (int i = 0; i < 100; ++i) {
      server.then(answer(200, "12345678"));
      get(body);
    }
  }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }

  ScriptedHttpServer server;
  HttpClientConfig config;
  std::array<std::byte, 8> body{};

 private:
  std::unique_ptr<HttpClient> client_;
};

}  // namespace nbdstack::testing
