#include "plugins/s3/http/send_pace.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A kernel that takes everything, before a line that acknowledges so many bytes in a second.
class SendPaceTest : public ::testing::Test {
 protected:
  // Asks for pieces for so long, every time that it may.
  void run_for(Duration time) {
    const TimePoint end = now + time;
    while (now < end) {
      const std::size_t piece = pace.allowance(static_cast<std::size_t>(waiting_bytes), trip, now);
      largest_piece_bytes = std::max(largest_piece_bytes, piece);
      if (piece > 0) pace.handed(piece, now);
      waiting_bytes += static_cast<double>(piece);
      const Duration step = piece > 0 ? time_of_piece : SendPace::kPause;
      now += step;
      const double carried =
          std::min(waiting_bytes, bytes_s * std::chrono::duration<double>(step).count());
      waiting_bytes -= carried;
      carried_bytes += carried;
      most_waiting_bytes = std::max(most_waiting_bytes, waiting_bytes);
    }
  }

  SendPace pace;
  TimePoint now{std::chrono::hours(1)};
  double bytes_s = 125'000;
  Duration trip = milliseconds(20);
  Duration time_of_piece = milliseconds(1);
  double waiting_bytes = 0;
  double most_waiting_bytes = 0;
  double carried_bytes = 0;
  std::size_t largest_piece_bytes = 0;
};

TEST_F(SendPaceTest, ASlowLineStaysFullAndItsQueueShort) {
  run_for(seconds(20));
  EXPECT_GE(carried_bytes, 0.99 * 20 * bytes_s);
  // Also at first, when the kernel takes all that it is given.
  EXPECT_LE(most_waiting_bytes, 2 * bytes_s);
  most_waiting_bytes = 0;
  for (int bodies = 0; bodies < 20; ++bodies) {
    pace.begin();
    waiting_bytes = 0;
    run_for(seconds(2));
  }
  EXPECT_LE(most_waiting_bytes, bytes_s);
}

// As large as on a fast line, and then narrowed in a few steps.
TEST_F(SendPaceTest, ALineThatBecomesSlowHasAShortQueueInTime) {
  bytes_s = 10e6;
  run_for(seconds(3));
  bytes_s = 125'000;
  run_for(seconds(60));  // what is under way by then takes most of it
  most_waiting_bytes = 0;
  carried_bytes = 0;
  run_for(seconds(20));
  EXPECT_LE(most_waiting_bytes, bytes_s);
  EXPECT_GE(carried_bytes, 0.95 * 20 * bytes_s);
}

TEST_F(SendPaceTest, TheWindowOfAConnectionStays) {
  bytes_s = 10e6;
  run_for(seconds(3));
  pace.begin();
  waiting_bytes = 0;
  std::size_t at_once = 0;
  while (const std::size_t piece = pace.allowance(at_once, trip, now)) {
    pace.handed(piece, now);
    at_once += piece;
  }
  EXPECT_GT(at_once, std::size_t{1} << 20U);
}

TEST_F(SendPaceTest, AFastLineIsNotHeldBackAndGetsLargePieces) {
  bytes_s = 1e9;
  run_for(milliseconds(100));
  EXPECT_EQ(largest_piece_bytes, SendPace::kPiece_bytes_max);
  EXPECT_EQ(waiting_bytes, 0);
}

TEST_F(SendPaceTest, ALongWayIsNoSlowLine) {
  pace.handed(1000, now);
  const auto allowed = [&](Duration after, Duration round_trip) {
    return pace.allowance(1000, round_trip, now + after) > 0;
  };
  EXPECT_TRUE(allowed(SendPace::kSpan, milliseconds(0)));
  EXPECT_FALSE(allowed(SendPace::kSpan + milliseconds(1), milliseconds(0)));
  EXPECT_TRUE(allowed(SendPace::kSpan + milliseconds(600), milliseconds(600)));
  EXPECT_FALSE(allowed(SendPace::kSpan + milliseconds(601), milliseconds(600)));
  EXPECT_GT(pace.allowance(0, milliseconds(0), now + seconds(9)), 0U);  // acknowledged after all
}

TEST_F(SendPaceTest, OfALineThatIsDeadNothingMoreIsAskedFor) {
  bytes_s = 0;
  run_for(seconds(10));
  const double waiting = waiting_bytes;
  run_for(seconds(10));
  EXPECT_EQ(waiting_bytes, waiting);
}

}  // namespace
}  // namespace nbdstack
