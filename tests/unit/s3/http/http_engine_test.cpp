// What the engine does with many requests, late ones and refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/s3/http/http_engine_fixture.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::answer;
using testing::Gate;
using testing::hang_up;

using HttpEngineTest = testing::HttpEngineFixture;

TEST_F(HttpEngineTest, ManyCallersShareFewConnections) {
  constexpr int kCallers = 32;
  constexpr int kRequests = 50;
  config.connections = 4;
  config.hedging = false;
  for (int i = 0; i < kCallers * kRequests; ++i) server.then(answer(200, "12345678"));
  client();
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  callers.reserve(kCallers);
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      std::array<std::byte, 8> mine{};
      for (int j = 0; j < kRequests; ++j) good += get(mine) == 200 ? 1 : 0;
    });
  }
  for (std::thread& each : callers) each.join();
  EXPECT_EQ(good, kCallers * kRequests);
  EXPECT_LE(server.connections(), 4U);
}

TEST_F(HttpEngineTest, ALateGetIsSentAgainOnAFreshConnection) {
  learn();
  server.then(answer(200, "the late").stall_after(3));
  server.then(answer(200, "the next"));
  EXPECT_EQ(get(body), 200);
  EXPECT_EQ(text(), "the next");
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpEngineTest, TheFirstMayStillWin) {
  learn();
  Gate gate;
  server.then(answer(200, "the late").when_asked([&gate] { gate.wait(); }));
  server.then(answer(200, "the next").stall_after(3).when_asked([&gate] { gate.open(); }));
  EXPECT_EQ(get(body), 200);
  EXPECT_EQ(text(), "the late");
}

TEST_F(HttpEngineTest, AFailureOfOneDoesNotCountWhileThereIsTheOther) {
  learn();
  for (const auto& failure : {hang_up(), answer(503), answer(200, "12345678").close_after(3)}) {
    Gate gate;
    server.then(answer(200, "the late").when_asked([&gate] { gate.wait(); }));
    auto next = failure;
    server.then(std::move(next).when_asked([&gate] { gate.open(); }));
    EXPECT_EQ(get(body), 200);
    EXPECT_EQ(text(), "the late");
    learn();  // the 503 has lowered the limit
  }
}

TEST_F(HttpEngineTest, BothMayFail) {
  learn();
  Gate gate;
  server.then(answer(200, "12345678").close_after(3).when_asked([&gate] { gate.wait(); }));
  server.then(answer(500).when_asked([&gate] { gate.open(); }));
  const int status = get(body);
  EXPECT_TRUE(status == 0 || status == 500) << status;
}

TEST_F(HttpEngineTest, NothingButAGetIsSentTwice) {
  learn();
  server.then(answer(200, "x").stall_after(0));
  HttpRequest request{.method = "PUT", .url = server.url() + "/k"};
  EXPECT_EQ(status_of(client().perform(request, milliseconds(300))), 0);
  EXPECT_EQ(server.requests().size(), 101U);
}

TEST_F(HttpEngineTest, HedgingCanBeTurnedOff) {
  config.hedging = false;
  config.stall_timeout = seconds(1);
  learn();
  server.then(answer(200, "the late").stall_after(3));
  EXPECT_EQ(get(body), 0);
  EXPECT_EQ(server.requests().size(), 101U);
}

TEST_F(HttpEngineTest, ARefusalLowersTheRequestsInFlight) {
  config.connections = 4;
  server.then(answer(503));
  EXPECT_EQ(get(body), 503);  // two at a time now, and three after two good answers
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  Gate gate;
  for (int i = 0; i < 4; ++i) {
    server.then(answer(200, "12345678").when_asked([&] {
      most = std::max(most.load(), ++at_once);
      gate.wait();
      --at_once;
    }));
  }
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([this] {
      std::array<std::byte, 8> mine{};
      EXPECT_EQ(get(mine), 200);
    });
  }
  gate.await_arrivals(2);
  gate.open();
  for (std::thread& each : callers) each.join();
  EXPECT_LE(most, 3);
}

TEST_F(HttpEngineTest, SilenceLowersTheRequestsInFlightAsARefusalDoes) {
  config.connections = 2;
  config.stall_timeout = seconds(1);
  config.hedging = false;
  server.then(answer(200, "12345678").stall_after(3));
  EXPECT_EQ(get(body), 0);  // one at a time now
  std::atomic<int> at_once{0};
  Gate first_is_there;
  Gate gate;
  server.then(answer(200, "12345678").when_asked([&] {
    ++at_once;
    first_is_there.wait();
    gate.wait();
    --at_once;
  }));
  server.then(answer(200, "12345678").when_asked([&] { EXPECT_EQ(at_once, 0); }));
  std::thread first([this] {
    std::array<std::byte, 8> mine{};
    EXPECT_EQ(get(mine), 200);
  });
  first_is_there.await_arrivals(1);
  std::array<std::byte, 8> mine{};
  HttpRequest next = get_request(mine);
  next.is_over = [&, asked = 0]() mutable {  // before the request, and then from the queue
    if (asked++ == 1) gate.open();
    return false;
  };
  std::thread second([&] { EXPECT_EQ(status_of(client().perform(next, seconds(30))), 200); });
  first_is_there.open();
  first.join();
  second.join();
}

TEST_F(HttpEngineTest, CallersShareAConnectionOneAfterAnother) {
  client();
  for (int i = 0; i < 3; ++i) {
    server.then(answer(200, "12345678"));
    std::thread([this] { EXPECT_EQ(get(body), 200); }).join();
  }
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpEngineTest, ThePlaceOfACallerWhoIsInterruptedGoesToTheNext) {
  config.connections = 1;
  Gate interruption;
  server.then(answer(200, "12345678").stall_after(3));
  server.then(answer(200, "12345678"));
  HttpRequest request = get_request(body);
  request.is_over = [this, &interruption]() -> bool {
    if (server.requests().empty()) return false;
    interruption.wait();
    throw std::runtime_error("asked in vain");
  };
  client();
  std::thread interrupted(
      [&] { EXPECT_THROW(client().perform(request, seconds(30)), std::runtime_error); });
  interruption.await_arrivals(1);
  std::array<std::byte, 8> mine{};
  HttpRequest next = get_request(mine);
  next.is_over = [&, asked = 0]() mutable {  // before the request, and then from the queue
    if (asked++ == 1) interruption.open();
    return false;
  };
  EXPECT_EQ(status_of(client().perform(next, seconds(30))), 200);
  interrupted.join();
}

TEST_F(HttpEngineTest, AnInterruptionEndsBothExchangesAndLeavesALaneFit) {
  learn();
  server.then(answer(200, "the late").stall_after(3));
  server.then(answer(200, "the next").stall_after(3));
  HttpRequest request = get_request(body);
  request.is_over = [this]() -> bool {
    if (server.requests().size() == 102) throw std::runtime_error("asked in vain");
    return false;
  };
  EXPECT_THROW(client().perform(request, seconds(30)), std::runtime_error);
  server.then(answer(200, "12345678"));
  EXPECT_EQ(get(body), 200);
  EXPECT_EQ(text(), "12345678");
}

TEST_F(HttpEngineTest, ASecondExchangeGivesItsPlaceBack) {
  config.connections = 2;
  learn();
  server.then(answer(200, "the late").stall_after(3));
  server.then(answer(200, "the next"));
  EXPECT_EQ(get(body), 200);
  Gate both;
  for (int i = 0; i < 2; ++i) {
    server.then(answer(200, "12345678").when_asked([&both] { both.wait(); }));
  }
  std::vector<std::thread> callers;
  callers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([this] {
      std::array<std::byte, 8> mine{};
      EXPECT_EQ(get(mine), 200);
    });
  }
  both.await_arrivals(2);
  both.open();
  for (std::thread& each : callers) each.join();
}

TEST_F(HttpEngineTest, ItsEndEndsWhoIsServedAndWhoWaits) {
  auto mortal = std::make_unique<HttpClient>(HttpClientConfig{.connections = 1});
  server.then(answer(200, "12345678").stall_after(3));
  Gate asked;  // who waits has been asked from the queue
  const auto errno_of = [client = mortal.get()](const HttpRequest& request) {
    try {
      client->perform(request, seconds(30));
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  };
  const HttpRequest request = get_request(body);
  std::thread served([&] { EXPECT_EQ(errno_of(request), ESHUTDOWN); });
  while (server.requests().empty()) std::this_thread::yield();
  std::array<std::byte, 8> mine{};
  HttpRequest next = get_request(mine);
  next.is_over = [&, count = 0]() mutable {
    if (count++ == 1) asked.wait();
    return false;
  };
  std::thread waiting([&] { EXPECT_EQ(errno_of(next), ESHUTDOWN); });
  asked.await_arrivals(1);
  asked.open();
  mortal.reset();
  served.join();
  waiting.join();
  EXPECT_EQ(server.requests().size(), 1U);
}

}  // namespace
}  // namespace nbdstack
