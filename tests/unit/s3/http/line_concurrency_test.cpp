// Lines that carry what they can, in a time of their own, and what becomes of the number at a time.
#include "plugins/s3/http/line_concurrency.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kObject_bytes = 1 << 20;
constexpr double kMbit_bytes_s = 1e6 / 8;
constexpr unsigned kMost = 16;

// What each of `n` transfers at a time gets, in bytes a second.
using Share = std::function<double(unsigned n)>;

Share full_at(double bytes_s) {
  return [=](unsigned n) { return bytes_s / n; };
}
Share each_gets(double bytes_s) {
  return [=](unsigned) { return bytes_s; };
}
Share each_gets_until_full_at(double each_bytes_s, double all_bytes_s) {
  return [=](unsigned n) { return std::min(each_bytes_s, all_bytes_s / n); };
}

// Transfers of about a megabyte (else they would run in step, and wait for their answers at the
// same time), as many at a time as are allowed, in steps of 20 ms.
class Line {
 public:
  explicit Line(Share share) : share_(std::move(share)) {}

  void run_for(Duration time) {
    carried_bytes_ = 0;
    most_at_a_time_ = 0;
    at_a_time_ = 0;
    steps_ = 0;
    const TimePoint end = now_ + time;
    ran_for_ = time;
    while (now_ < end) step();
  }
  void becomes(Share share) { share_ = std::move(share); }
  // Nobody wants more than so many at a time.
  void is_wanted_by(unsigned callers) { wanted_ = callers; }

  [[nodiscard]] double rate_bytes_s() const {
    return carried_bytes_ / std::chrono::duration<double>(ran_for_).count();
  }
  [[nodiscard]] unsigned most_at_a_time() const { return most_at_a_time_; }
  [[nodiscard]] double mean_at_a_time() const { return 1.0 * at_a_time_ / steps_; }
  [[nodiscard]] const LineConcurrency& concurrency() const { return concurrency_; }

 private:
  struct Transfer {
    TimePoint begun;
    double left_bytes;
  };

  // Between the last byte of one and the first of the next there is a round trip.
  static constexpr Duration kAnswer = milliseconds(200);
  static constexpr Duration kStep = milliseconds(20);

  void step() {
    while (transfers_.size() < std::min(concurrency_.limit(), wanted_)) {
      number_ = (number_ + 7) % 20;
      transfers_.push_back({now_, kObject_bytes * (0.8 + 0.02 * number_)});
    }
    most_at_a_time_ = std::max(most_at_a_time_, static_cast<unsigned>(transfers_.size()));
    at_a_time_ += static_cast<unsigned>(transfers_.size());
    ++steps_;
    now_ += kStep;
    const auto sending = static_cast<unsigned>(std::count_if(
        transfers_.begin(), transfers_.end(), [](const Transfer& t) { return t.left_bytes > 0; }));
    for (Transfer& each : transfers_) carry(each, sending);
    for (auto each = transfers_.begin(); each != transfers_.end();) {
      if (each->left_bytes > -std::chrono::duration<double>(kAnswer).count()) {
        ++each;
        continue;
      }
      concurrency_.answered({.begun = each->begun,
                             .now = now_,
                             .in_flight = static_cast<unsigned>(transfers_.size()),
                             .others_wait = transfers_.size() < wanted_});
      each = transfers_.erase(each);
    }
  }

  // Below 0 it counts the seconds of the wait for the answer.
  void carry(Transfer& transfer, unsigned sending) {
    const double step_s = std::chrono::duration<double>(kStep).count();
    if (transfer.left_bytes <= 0) {
      transfer.left_bytes -= step_s;
      return;
    }
    const double bytes = std::min(share_(sending) * step_s, transfer.left_bytes);
    transfer.left_bytes -= bytes;
    carried_bytes_ += bytes;
    concurrency_.carried(static_cast<std::uint64_t>(bytes), now_);
  }

  Share share_;
  LineConcurrency concurrency_{kMost};
  std::vector<Transfer> transfers_;
  TimePoint now_{std::chrono::hours(1)};
  unsigned wanted_ = 64;
  unsigned number_ = 0;
  double carried_bytes_ = 0;
  Duration ran_for_{};
  unsigned most_at_a_time_ = 0;
  unsigned at_a_time_ = 0;  // over all steps
  unsigned steps_ = 0;
};

TEST(LineConcurrencyTest, AFullLineHasAUseForFew) {
  for (const double mbit : {1, 4}) {
    SCOPED_TRACE(mbit);
    Line line(full_at(mbit * kMbit_bytes_s));
    line.run_for(seconds(300));
    EXPECT_LE(line.most_at_a_time(), LineConcurrency::kFirst);
    EXPECT_GE(line.rate_bytes_s(), 0.95 * mbit * kMbit_bytes_s);
    EXPECT_TRUE(line.concurrency().is_slow());
    // Trials with more bring nothing, and end.
    line.run_for(seconds(3000));
    EXPECT_LE(line.most_at_a_time(), 2 * LineConcurrency::kLeast);
    EXPECT_LE(line.mean_at_a_time(), LineConcurrency::kLeast + 1.0);
    EXPECT_GE(line.rate_bytes_s(), 0.95 * mbit * kMbit_bytes_s);
  }
}

TEST(LineConcurrencyTest, AFastLineHasAsManyAsAreConfiguredAtOnce) {
  Line line(each_gets(100 * kMbit_bytes_s));
  line.run_for(seconds(3));
  EXPECT_EQ(line.concurrency().limit(), kMost);
  EXPECT_FALSE(line.concurrency().is_slow());
}

TEST(LineConcurrencyTest, ALongFastLineIsFilled) {
  // One connection alone has not got the windows to fill it.
  Line line(each_gets_until_full_at(10 * kMbit_bytes_s, 100 * kMbit_bytes_s));
  line.run_for(seconds(60));
  EXPECT_GE(line.rate_bytes_s(), 0.9 * 100 * kMbit_bytes_s);
}

TEST(LineConcurrencyTest, WhereItIsTheConnectionThatIsSlowThereAreManyOfThem) {
  const double each = 0.5 * kMbit_bytes_s;  // 17 s an object
  Line line(each_gets(each));
  line.run_for(seconds(600));
  line.run_for(seconds(3600));
  EXPECT_EQ(line.most_at_a_time(), kMost);
  EXPECT_GE(line.rate_bytes_s(), 0.85 * kMost * each);  // the rest are trials with fewer
}

TEST(LineConcurrencyTest, ALineThatBecomesSlowAndFastAgainIsFollowed) {
  Line line(each_gets_until_full_at(20 * kMbit_bytes_s, 100 * kMbit_bytes_s));
  line.run_for(seconds(60));
  const unsigned many = line.concurrency().limit();
  EXPECT_GE(many, 6U);
  line.becomes(full_at(kMbit_bytes_s));
  line.run_for(seconds(1800));
  line.run_for(seconds(600));
  EXPECT_LE(line.most_at_a_time(), LineConcurrency::kFirst);
  EXPECT_GE(line.rate_bytes_s(), 0.95 * kMbit_bytes_s);
  line.becomes(each_gets_until_full_at(20 * kMbit_bytes_s, 100 * kMbit_bytes_s));
  line.run_for(seconds(60));
  line.run_for(seconds(60));
  EXPECT_GE(line.rate_bytes_s(), 0.9 * 100 * kMbit_bytes_s);
}

TEST(LineConcurrencyTest, NothingIsLearntWhileNobodyWaits) {
  Line line(full_at(kMbit_bytes_s));
  line.is_wanted_by(3);
  line.run_for(seconds(600));
  EXPECT_EQ(line.concurrency().limit(), LineConcurrency::kFirst);
}

TEST(LineConcurrencyTest, AnIdleLineIsNotWaitedFor) {
  LineConcurrency concurrency(kMost);
  TimePoint now{std::chrono::hours(1)};
  concurrency.is_under_way(now);
  concurrency.is_wanted(kObject_bytes, now + milliseconds(999));
  EXPECT_EQ(concurrency.limit(), LineConcurrency::kFirst);
  for (unsigned more = 1; more <= 20; ++more) {
    now += LineConcurrency::kIdle;
    concurrency.is_wanted(kObject_bytes, now);
    EXPECT_EQ(concurrency.limit(), std::min(LineConcurrency::kFirst + more, kMost));
  }
}

// A line that is looked at every 5 ms, over which TCP begins: bursts, a round trip apart and each
// twice as large as the one before, which take as long as the line needs for them. Who waits wants
// megabytes.
class BeginningLine {
 public:
  BeginningLine(double mbit, Duration round_trip)
      : bytes_s_(mbit * kMbit_bytes_s), round_trip_(round_trip) {}

  void run_for(Duration time) {
    for (const TimePoint end = now_ + time; now_ < end; now_ += kLook) {
      if (now_ >= burst_due_) {
        burst_due_ = now_ + round_trip_;
        waiting_bytes_ += std::exchange(burst_bytes_, 2 * burst_bytes_);
      }
      const double bytes =
          std::min(waiting_bytes_, bytes_s_ * std::chrono::duration<double>(kLook).count());
      waiting_bytes_ -= bytes;
      concurrency_.carried(static_cast<std::uint64_t>(bytes), now_);
      const double wanted = (concurrency_.limit() + 1) * kObject_bytes;
      concurrency_.is_wanted(static_cast<std::uint64_t>(wanted), now_);
    }
  }
  [[nodiscard]] unsigned limit() const { return concurrency_.limit(); }

 private:
  static constexpr Duration kLook = milliseconds(5);

  const double bytes_s_;
  const Duration round_trip_;
  LineConcurrency concurrency_{kMost};
  TimePoint now_{std::chrono::hours(1)};
  TimePoint burst_due_ = now_;
  double burst_bytes_ = 4 * 14'480;  // of as many connections as there are at first
  double waiting_bytes_ = 0;
};

TEST(LineConcurrencyTest, AFastLineIsKnownBeforeTheFirstAnswers) {
  BeginningLine line(100, milliseconds(200));
  line.run_for(milliseconds(1200));  // it takes 1.4 s to carry the first four megabytes so
  EXPECT_EQ(line.limit(), kMost);
}

TEST(LineConcurrencyTest, NoMoreAreTakenForQuickThanTheLineCarriesInThatTime) {
  for (const double mbit : {1, 4, 16}) {
    SCOPED_TRACE(mbit);
    BeginningLine line(mbit, milliseconds(200));
    line.run_for(seconds(20));
    EXPECT_EQ(line.limit(), LineConcurrency::kFirst);
  }
  BeginningLine line(50, milliseconds(20));
  line.run_for(seconds(20));
  EXPECT_EQ(line.limit(), 11U);
}

TEST(LineConcurrencyTest, WhatIsSeenAtOnceAfterALongTimeWasNotCarriedAtOnce) {
  LineConcurrency concurrency(kMost);
  TimePoint now{std::chrono::hours(1)};
  for (int looks = 0; looks < 100; ++looks) concurrency.carried(0, now += milliseconds(5));
  concurrency.carried(1 << 20, now += milliseconds(900));
  concurrency.is_wanted(5 * kObject_bytes, now);
  EXPECT_EQ(concurrency.limit(), LineConcurrency::kFirst);
  concurrency.carried(0, now += milliseconds(50));
  concurrency.is_wanted(5 * kObject_bytes, now);
  EXPECT_EQ(concurrency.limit(), LineConcurrency::kFirst);
}

TEST(LineConcurrencyTest, WhereOneIsConfiguredItIsOne) {
  LineConcurrency concurrency(1);
  TimePoint now{std::chrono::hours(1)};
  for (int i = 0; i < 100; ++i) {
    const TimePoint begun = std::exchange(now, now + seconds(8));
    concurrency.carried(1 << 20, now);
    concurrency.answered({.begun = begun, .now = now, .in_flight = 1, .others_wait = true});
    EXPECT_EQ(concurrency.limit(), 1U);
  }
}

}  // namespace
}  // namespace nbdstack
