#include "plugins/s3/http/receive_pace.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double in_seconds(Duration time) {
  return std::chrono::duration<double>(time).count();
}

// A line that carries so many bytes a second from services, each of which sends as much as its
// connection's window allows, into a queue of any length. The kernel lets a window grow to twice
// what comes in a round trip.
class ReceivePaceTest : public ::testing::Test {
 protected:
  struct Connection {
    ReceivePace pace;
    double window_bytes = 64 << 10;
    double received_bytes = 0;
  };

  void run_for(Duration time) {
    carried_bytes = 0;
    longest_queue = Duration{};
    for (const TimePoint end = now + time; now < end; now += kLook) step();
  }

  void step() {
    double under_way_bytes = 0;
    for (const Connection& each : connections) under_way_bytes += each.window_bytes;
    // What is under way fills the way and then the queue.
    const double round_s = std::max(in_seconds(trip), under_way_bytes / bytes_s);
    const auto round = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(round_s));
    longest_queue = std::max(longest_queue, round - trip);
    for (Connection& each : connections) {
      const double come_bytes = each.window_bytes / round_s * in_seconds(kLook);
      each.received_bytes += come_bytes;
      carried_bytes += come_bytes;
      each.window_bytes += come_bytes;  // as the kernel has it
      const auto window =
          each.pace.window({.received_bytes = static_cast<std::uint64_t>(each.received_bytes),
                            .shortest_round_trip = trip,
                            .round_trip = round,
                            .window_bytes = static_cast<std::uint64_t>(each.window_bytes)},
                           now);
      if (window) {
        ++limited;
        each.window_bytes = static_cast<double>(*window);
      }
      each.window_bytes = std::min(each.window_bytes, kWindow_bytes_max);
    }
  }

  static constexpr Duration kLook = milliseconds(25);
  static constexpr double kWindow_bytes_max = 6 << 20;

  std::vector<Connection> connections = std::vector<Connection>(4);
  TimePoint now{std::chrono::hours(1)};
  double bytes_s = 125'000;
  Duration trip = milliseconds(200);
  double carried_bytes = 0;
  Duration longest_queue{};
  unsigned limited = 0;
};

TEST_F(ReceivePaceTest, TheQueueOfASlowLineStaysShortAndTheLineFull) {
  run_for(seconds(10));
  EXPECT_LT(longest_queue, seconds(4));  // also at first
  run_for(seconds(60));
  EXPECT_LT(longest_queue, seconds(2));
  EXPECT_GE(carried_bytes, 0.95 * 60 * bytes_s);
}

TEST_F(ReceivePaceTest, WhatIsLimitedGrowsAgainOnALineThatBecomesFaster) {
  run_for(seconds(20));
  bytes_s = 12.5e6;
  run_for(seconds(20));
  run_for(seconds(20));
  EXPECT_GE(carried_bytes, 0.9 * 20 * bytes_s);
}

TEST_F(ReceivePaceTest, NothingIsDoneWhereTheQueueIsShort) {
  connections.resize(1);
  connections[0].window_bytes = 2 << 20;
  bytes_s = kWindow_bytes_max / in_seconds(trip + ReceivePace::kSpan);
  run_for(seconds(60));
  EXPECT_EQ(limited, 0U);
}

TEST_F(ReceivePaceTest, AnAnswerThatWasLongInComingIsNoQueue) {
  ReceivePace pace;
  ReceivePace::Seen seen{.received_bytes = 1,
                         .shortest_round_trip = trip,
                         .round_trip = seconds(2),
                         .window_bytes = 64 << 10};
  EXPECT_FALSE(pace.window(seen, now));
  seen.received_bytes += 1 << 20;
  EXPECT_FALSE(pace.window(seen, now + milliseconds(1900)));  // not slow yet
  pace.begin();
  EXPECT_FALSE(pace.window(seen, now + seconds(9)));
  seen.received_bytes += 1 << 20;  // in two seconds: it would have use for a larger one
  EXPECT_FALSE(pace.window(seen, now + seconds(11)));
  seen.received_bytes += 20'000;
  EXPECT_EQ(pace.window(seen, now + seconds(13)), ReceivePace::kWindow_bytes_min);
}

TEST_F(ReceivePaceTest, WithoutARoundTripNothingIsKnown) {
  ReceivePace pace;
  EXPECT_FALSE(pace.window({.window_bytes = 1000}, now));
  EXPECT_FALSE(pace.window({.received_bytes = 1000, .window_bytes = 1000}, now + seconds(1)));
}

TEST_F(ReceivePaceTest, AQueueIsNotTakenForAWay) {
  ReceivePace pace;
  ReceivePace::Seen seen{
      .shortest_round_trip = seconds(9), .round_trip = seconds(9), .window_bytes = 1 << 20};
  EXPECT_FALSE(pace.window(seen, now));
  seen.received_bytes = 900'000;
  EXPECT_EQ(pace.window(seen, now + seconds(9)), 150'000U);
}

}  // namespace
}  // namespace nbdstack
