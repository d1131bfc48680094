// Every row of the table in lease_takeover.hpp.
#include "plugins/s3/lease/lease_takeover.hpp"

#include <gtest/gtest.h>

#include "plugins/s3/lease/lease_timing.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeProcesses;
using Verdict = TakeoverVerdict;

class LeaseTakeoverTest : public ::testing::Test {
 protected:
  LeaseTakeoverTest() { record_.process = other_.self(); }

  [[nodiscard]] std::optional<SeenLease> seen(std::optional<seconds> age = std::nullopt) const {
    return SeenLease{.version = {.text = record_.to_json(), .etag = "\"1\""},
                     .age = age,
                     .record = record_,
                     .fault = {}};
  }
  static TimePoint at(Duration time) { return TimePoint(time); }

  FakeProcesses here_{"here", 1};
  FakeProcesses other_{"there", 2};
  LeaseRecord record_ = LeaseRecord::make(other_, seconds(30));
  TakeoverWatch watch_{here_, "own id"};
};

TEST_F(LeaseTakeoverTest, TheDefaultTimesAreThoseOfTheManual) {
  const LeaseTiming timing;
  const RecordTiming written;
  const RecordTiming at_rest{timing.record_duration(std::chrono::hours(8))};
  EXPECT_EQ(timing.renewal_interval(written.duration), seconds(13));
  EXPECT_EQ(timing.renewal_interval(at_rest.duration), seconds(88));
  EXPECT_EQ(written.margin(), seconds(5));
  EXPECT_EQ(at_rest.margin(), seconds(20));
  EXPECT_EQ(written.validity(), seconds(25));
  EXPECT_EQ(at_rest.validity(), seconds(100));
  EXPECT_EQ(written.expiry(), seconds(35));
  EXPECT_EQ(at_rest.expiry(), seconds(140));
  EXPECT_EQ(timing.attempt_timeout(), seconds(3));
  EXPECT_EQ(timing.request_timeout(), seconds(7));
  EXPECT_EQ(timing.start_timeout(), seconds(15));
  EXPECT_EQ(timing.pause(), seconds(1));
  EXPECT_EQ(timing.watch_pause(), seconds(1));
}

TEST_F(LeaseTakeoverTest, ThreeAttemptsToRenewFitIntoEveryLeaseAndAgesAreTooCoarseForNone) {
  for (milliseconds duration = kLeaseDuration_min; duration <= kLeaseDuration_max; duration *= 2) {
    const LeaseTiming timing{.duration = duration};
    const Duration attempt = timing.attempt_timeout() + timing.pause();
    for (const Duration idle : {Duration(0), Duration(duration) * 2, Duration(duration) * 10}) {
      const RecordTiming record{timing.record_duration(idle)};
      const Duration interval = timing.renewal_interval(record.duration);
      EXPECT_GT(interval, record.duration / 3);
      EXPECT_EQ(interval + 3 * attempt, record.validity());
      EXPECT_GT(record.expiry() - record.validity(), seconds(1));
      check_lease_duration(record.duration);
    }
  }
}

TEST_F(LeaseTakeoverTest, ThatOfNobodyIsTaken) {
  EXPECT_EQ(watch_.judge(std::nullopt, at(seconds(0))).verdict, Verdict::take);
  record_.state = LeaseRecord::State::released;
  EXPECT_EQ(watch_.judge(seen(), at(seconds(0))).verdict, Verdict::take);
}

TEST_F(LeaseTakeoverTest, OurOwnIsTaken) {
  EXPECT_EQ(watch_.judge(std::nullopt, at(seconds(0))).verdict, Verdict::take);
  record_.owner = "own id";
  EXPECT_EQ(watch_.judge(seen(), at(seconds(0))).verdict, Verdict::take);
}

TEST_F(LeaseTakeoverTest, OneThatCannotBeUnderstoodIsRefused) {
  auto unreadable = seen(seconds(1000));
  unreadable->record.reset();
  unreadable->fault = "of version 2";
  const Takeover takeover = watch_.judge(unreadable, at(seconds(0)));
  EXPECT_EQ(takeover.verdict, Verdict::refuse);
  EXPECT_EQ(takeover.reason, "of version 2");
}

TEST_F(LeaseTakeoverTest, ThatOfAProcessOfThisMachineThatHasEndedIsTakenAtOnce) {
  here_.gone.push_back(record_.process);
  const Takeover takeover = watch_.judge(seen(seconds(0)), at(seconds(0)));
  EXPECT_EQ(takeover.verdict, Verdict::take);
  EXPECT_NE(takeover.reason.find("there, pid 2"), std::string::npos) << takeover.reason;
}

TEST_F(LeaseTakeoverTest, OneThatChangesHasALiveOwner) {
  EXPECT_EQ(watch_.judge(seen(), at(seconds(0))).verdict, Verdict::wait);
  ++record_.renewals;
  const Takeover takeover = watch_.judge(seen(seconds(1000)), at(seconds(1)));
  EXPECT_EQ(takeover.verdict, Verdict::refuse);
  EXPECT_NE(takeover.reason.find("there, pid 2"), std::string::npos) << takeover.reason;
}

TEST_F(LeaseTakeoverTest, OneThatComesIntoBeingHasALiveOwner) {
  EXPECT_EQ(watch_.judge(std::nullopt, at(seconds(0))).verdict, Verdict::take);
  EXPECT_EQ(watch_.judge(seen(), at(seconds(1))).verdict, Verdict::refuse);
}

TEST_F(LeaseTakeoverTest, OneThatIsOldByTheStoresClockIsWatchedAsAnyOther) {
  EXPECT_EQ(watch_.judge(seen(seconds(36)), at(seconds(0))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(seconds(86400)), at(seconds(34))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(seconds(-60)), at(seconds(35))).verdict, Verdict::take);
}

TEST_F(LeaseTakeoverTest, OneThatDoesNotChangeIsTakenWhenItHasBeenWatchedForLongEnough) {
  EXPECT_EQ(watch_.judge(seen(), at(seconds(7))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(), at(seconds(42) - milliseconds(1))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(), at(seconds(42))).verdict, Verdict::take);
}

TEST_F(LeaseTakeoverTest, ItsOwnDurationCounts) {
  record_.duration = seconds(60);
  EXPECT_EQ(watch_.judge(seen(seconds(60)), at(seconds(0))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(seconds(60)), at(seconds(69))).verdict, Verdict::wait);
  EXPECT_EQ(watch_.judge(seen(seconds(60)), at(seconds(70))).verdict, Verdict::take);
}

TEST_F(LeaseTakeoverTest, TheLongestWaitIsTold) {
  EXPECT_EQ(watch_.judge(seen(), at(seconds(0))).longest_wait, seconds(35));
  EXPECT_EQ(watch_.judge(seen(), at(seconds(10))).longest_wait, seconds(25));
  EXPECT_EQ(watch_.judge(seen(seconds(20)), at(seconds(11))).longest_wait, seconds(24));
}

}  // namespace
}  // namespace nbdstack
