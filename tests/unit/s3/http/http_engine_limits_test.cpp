// What the engine makes of limits: of bandwidth, of silence, and of the time of a request.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "common/error.hpp"
#include "tests/unit/s3/http/http_engine_fixture.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::answer;

using HttpEngineLimitsTest = testing::HttpEngineFixture;

TEST_F(HttpEngineLimitsTest, DownloadsKeepTheirLimitAndAPauseIsNoStall) {
  config.download_limit_bytes_s = 20'000;
  config.stall_timeout = seconds(1);
  const std::string large(48 << 10, 'x');
  std::vector<std::byte> buffer(large.size());
  server.then(answer(200, large));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(get(buffer), 200);
  // All but the last piece, which is of at most 16 KiB, and what may pass at once.
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(1500));
  EXPECT_EQ(buffer.back(), std::byte{'x'});
}

TEST_F(HttpEngineLimitsTest, ATimeLimitIsOfSilence) {
  server.then(answer(200, "12345678").drip(milliseconds(100)));
  unsigned got_on = 0;
  HttpRequest request = get_request(body);
  request.got_on = [&got_on] { ++got_on; };
  const HttpOutcome outcome = client().perform(request, milliseconds(500));
  EXPECT_EQ(status_of(outcome), 200);
  EXPECT_GE(got_on, 3U);
  EXPECT_GE(std::get<HttpResponse>(outcome).put_off, milliseconds(300));

  server.then(answer(200, "12345678").drip(milliseconds(100)));
  request.time = TransferTime::whole;
  const HttpOutcome late = client().perform(request, milliseconds(500));
  EXPECT_EQ(std::get<TransportFailure>(late).kind, TransportFailure::Kind::timeout);
  EXPECT_EQ(std::get<TransportFailure>(late).put_off, Duration::zero());
}

TEST_F(HttpEngineLimitsTest, WhatGetsOnForLongerThanAStallIsNoStall) {
  config.stall_timeout = seconds(2);
  const std::string slow(13, 'x');
  std::vector<std::byte> buffer(slow.size());
  server.then(answer(200, slow).drip(milliseconds(200)));
  EXPECT_EQ(get(buffer), 200);
}

TEST_F(HttpEngineLimitsTest, ATrickleIsNoLineThatGetsOn) {
  config.crawl_timeout = milliseconds(500);
  server.then(answer(200, "12345678").drip(milliseconds(100)));
  const HttpOutcome outcome = client().perform(get_request(body), seconds(30));
  EXPECT_EQ(std::get<TransportFailure>(outcome).kind, TransportFailure::Kind::timeout);
  EXPECT_NE(std::get<TransportFailure>(outcome).message.find("slower than 1024 bytes"),
            std::string::npos);
}

// Neither what is said in an answer of failure, nor how slowly it is said.
TEST_F(HttpEngineLimitsTest, AnAnswerOfFailureIsNothingThatGetsOn) {
  server.then(answer(503, "not today").drip(milliseconds(100)));
  const HttpOutcome outcome = client().perform(get_request(body), milliseconds(400));
  EXPECT_EQ(std::get<TransportFailure>(outcome).kind, TransportFailure::Kind::timeout);
}

TEST_F(HttpEngineLimitsTest, APauseForTheBandwidthIsNoSilenceEither) {
  config.download_limit_bytes_s = 20'000;
  const std::string large(48 << 10, 'x');  // more than 1.5 s
  std::vector<std::byte> buffer(large.size());
  server.then(answer(200, large));
  EXPECT_EQ(status_of(client().perform(get_request(buffer), milliseconds(1300))), 200);
}

TEST_F(HttpEngineLimitsTest, UploadsKeepTheirLimit) {
  config.upload_limit_bytes_s = 100'000;
  std::string large(64 << 10, 'x');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
  server.then(answer(200));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(put(large), 200);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(500));
  EXPECT_EQ(server.requests().at(0).body, large);
  server.then(answer(200));
  EXPECT_EQ(put(""), 200);
}

TEST_F(HttpEngineLimitsTest, TheLimitIsOneForAllTransfersTogether) {
  config.download_limit_bytes_s = 400'000;
  const std::string large(64 << 10, 'x');
  for (int i = 0; i < 4; ++i) server.then(answer(200, large));
  client();
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      std::vector<std::byte> mine(large.size());
      EXPECT_EQ(get(mine), 200);
    });
  }
  for (std::thread& each : callers) each.join();
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(500));
}

TEST_F(HttpEngineLimitsTest, APausedTransferCanBeCancelled) {
  config.download_limit_bytes_s = 1;
  const std::string large(64 << 10, 'x');
  std::vector<std::byte> buffer(large.size());
  server.then(answer(200, large));
  HttpRequest request = get_request(buffer);
  request.is_over = [this] { return !server.requests().empty(); };
  EXPECT_THROW(client().perform(request, seconds(30)), Error);
}

}  // namespace
}  // namespace nbdstack
