#include "plugins/s3/aws/credential_source.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <thread>

#include "tests/unit/s3/aws/fake_environment.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::answer;
using testing::Gate;

class CredentialSourceTest : public ::testing::Test {
 protected:
  Credentials named(const std::string& name, seconds lifetime) const {
    return {name, "s", "t", now.load() + lifetime};
  }
  // Renewed by what the test has put into `renewals`.
  std::unique_ptr<CredentialSource> source(const Credentials& first,
                                           AtTheirEnd at_their_end = AtTheirEnd::stop) {
    return std::make_unique<CredentialSource>(
        first, "somewhere",
        [this] {
          ++asked;
          if (renewals.empty()) throw Error(EIO, "nobody is there");
          const auto next = renewals.front();
          renewals.pop_front();
          return next();
        },
        [this] { return now.load(); }, at_their_end);
  }
  void will_renew(const Credentials& credentials) {
    renewals.emplace_back([=] { return credentials; });
  }
  void pass(seconds time) { now = now.load() + time; }

  std::atomic<WallTime> now{WallTime(seconds(1'000'000'000))};
  std::deque<std::function<Credentials()>> renewals;
  std::atomic<unsigned> asked{0};
};

TEST_F(CredentialSourceTest, FixedCredentialsNeverChange) {
  CredentialSource fixed(Credentials{"KEY", "s", ""});
  EXPECT_EQ(fixed.current().access_key, "KEY");
  EXPECT_FALSE(fixed.invalidate(fixed.current()));
  EXPECT_TRUE(CredentialSource(Credentials()).current().is_anonymous());
}

TEST_F(CredentialSourceTest, RenewedFiveMinutesBeforeTheEndOrATenth) {
  const auto hourly = source(named("OLD", hours(6)));
  will_renew(named("NEW", hours(12)));
  pass(hours(6) - minutes(5) - seconds(1));
  EXPECT_EQ(hourly->current().access_key, "OLD");
  pass(seconds(1));
  EXPECT_EQ(hourly->current().access_key, "NEW");
  EXPECT_EQ(asked, 1U);

  const auto brief = source(named("OLD", seconds(100)));
  will_renew(named("NEW", hours(12)));
  pass(seconds(89));
  EXPECT_EQ(brief->current().access_key, "OLD");
  pass(seconds(1));
  EXPECT_EQ(brief->current().access_key, "NEW");
}

TEST_F(CredentialSourceTest, OneRenewsWhileTheOthersGoOn) {
  const auto credentials = source(named("OLD", hours(1)));
  pass(minutes(56));
  Gate gate;
  renewals.emplace_back([&] {
    gate.wait();
    return named("NEW", hours(1));
  });
  std::thread renewer([&] { EXPECT_EQ(credentials->current().access_key, "NEW"); });
  gate.await_arrivals(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(credentials->current().access_key, "OLD");
  gate.open();
  renewer.join();
  EXPECT_EQ(credentials->current().access_key, "NEW");
  EXPECT_EQ(asked, 1U);
}

TEST_F(CredentialSourceTest, AllWaitForOneWhenTheyHaveEnded) {
  const auto credentials = source(named("OLD", hours(1)));
  pass(hours(1));
  Gate gate;
  renewals.emplace_back([&] {
    gate.wait();
    return named("NEW", hours(1));
  });
  std::vector<std::thread> callers;
  callers.reserve(8);
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] { EXPECT_EQ(credentials->current().access_key, "NEW"); });
  }
  gate.await_arrivals(1);
  gate.open();
  for (std::thread& each : callers) each.join();
  EXPECT_EQ(asked, 1U);
}

TEST_F(CredentialSourceTest, FailureKeepsTheOldOnesAndIsTriedAgainMoreAndMoreSeldom) {
  const auto credentials = source(named("OLD", hours(1)));
  pass(minutes(55));
  unsigned seconds_passed = 0;
  std::vector<unsigned> attempts_at;
  for (; seconds_passed < 130; ++seconds_passed, pass(seconds(1))) {
    const unsigned before = asked;
    EXPECT_EQ(credentials->current().access_key, "OLD");
    if (asked != before) attempts_at.push_back(seconds_passed);
  }
  EXPECT_EQ(attempts_at, (std::vector<unsigned>{0, 1, 3, 7, 15, 31, 63, 123}));
  will_renew(named("NEW", hours(1)));
  pass(minutes(1));
  EXPECT_EQ(credentials->current().access_key, "NEW");
}

TEST_F(CredentialSourceTest, EndedAndNotRenewedSaysWhereAndWhy) {
  const auto credentials = source(named("OLD", hours(1)));
  pass(hours(1));
  const auto failure = [&] {
    try {
      return Error(EIO, credentials->current().access_key);
    } catch (const Error& error) {
      return error;
    }
  };
  const Error error = failure();
  EXPECT_EQ(error.code(), EACCES);
  EXPECT_NE(std::string(error.what()).find("somewhere"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("nobody is there"), std::string::npos) << error.what();
  EXPECT_EQ(failure().code(), EACCES);
  EXPECT_EQ(asked, 1U) << "not every request asks again";
  will_renew(named("NEW", hours(1)));
  pass(seconds(1));
  EXPECT_EQ(credentials->current().access_key, "NEW");
}

TEST_F(CredentialSourceTest, ThoseThatHaveEndedAlreadyAreNoRenewal) {
  const auto credentials = source(named("OLD", hours(1)));
  will_renew(named("STALE", minutes(55)));
  pass(minutes(55));
  EXPECT_EQ(credentials->current().access_key, "OLD");
  pass(minutes(5));
  EXPECT_THROW(credentials->current(), Error);
}

// A metadata service that is in trouble hands out the old ones again, or nothing.
TEST_F(CredentialSourceTest, ThoseThatAreAllThereIsAreUsedOnAndSaidOnce) {
  for (const bool hands_out_old : {true, false}) {
    testing::LogOfErrors log;
    const Credentials old = named("OLD", hours(1));
    const auto credentials = source(old, AtTheirEnd::go_on);
    pass(hours(1));
    for (unsigned second = 0; second < 180; ++second, pass(seconds(1))) {
      if (hands_out_old) will_renew(old);
      EXPECT_EQ(credentials->current().access_key, "OLD");
      renewals.clear();
    }
    EXPECT_EQ(log.count({"somewhere", "have expired and are used on"}), 1U);
    EXPECT_EQ(log.all().size(), 1U);
    will_renew(named("NEW", hours(1)));
    pass(minutes(1));
    EXPECT_EQ(credentials->current().access_key, "NEW");
    EXPECT_EQ(log.count({"somewhere", "the trouble is over"}), 1U);
    EXPECT_EQ(log.all().size(), 2U);
    asked = 0;
    pass(minutes(30));
    EXPECT_EQ(credentials->current().access_key, "NEW");
    EXPECT_EQ(asked, 0U) << "and all is as it was";
  }
}

TEST_F(CredentialSourceTest, OfThoseThatHaveEndedTheNewestAreUsed) {
  const auto credentials = source(named("OLD", hours(1)), AtTheirEnd::go_on);
  pass(hours(2));
  will_renew(named("NEWER", -minutes(1)));
  EXPECT_EQ(credentials->current().access_key, "NEWER");
  pass(minutes(1));
  will_renew(named("OLDER", -minutes(100)));
  EXPECT_EQ(credentials->current().access_key, "NEWER");
}

TEST_F(CredentialSourceTest, OthersDoNotWaitWhileThoseThatAreUsedOnAreRenewed) {
  const auto credentials = source(named("OLD", hours(1)), AtTheirEnd::go_on);
  pass(hours(1));
  EXPECT_EQ(credentials->current().access_key, "OLD");
  pass(minutes(1));
  Gate gate;
  renewals.emplace_back([&] {
    gate.wait();
    return named("NEW", hours(1));
  });
  std::thread renewer([&] { EXPECT_EQ(credentials->current().access_key, "NEW"); });
  gate.await_arrivals(1);
  EXPECT_EQ(credentials->current().access_key, "OLD");
  gate.open();
  renewer.join();
}

TEST_F(CredentialSourceTest, TroubleIsSaidWhenItBeginsWhenTheyEndAndWhenItIsOver) {
  testing::LogOfErrors log;
  const auto credentials = source(named("OLD", hours(1)));
  pass(minutes(55));
  for (unsigned second = 0; second < 400; ++second, pass(seconds(1))) {
    try {
      credentials->current();
    } catch (const Error&) {
      EXPECT_GE(second, 300U);
    }
  }
  EXPECT_EQ(log.count({"valid for another 300 s", "nobody is there"}), 1U);
  EXPECT_EQ(log.count({"which have expired, could not be renewed"}), 1U);
  EXPECT_EQ(log.all().size(), 2U);
  will_renew(named("NEW", hours(1)));
  pass(minutes(1));
  EXPECT_EQ(credentials->current().access_key, "NEW");
  EXPECT_EQ(log.count({"the trouble is over"}), 1U);
}

TEST_F(CredentialSourceTest, AClockSetBackDoesNotStopRenewals) {
  const auto credentials = source(named("OLD", hours(1)));
  pass(hours(2));
  EXPECT_THROW(credentials->current(), Error);
  pass(-minutes(61));
  EXPECT_EQ(credentials->current().access_key, "OLD");
  EXPECT_EQ(asked, 2U);
}

TEST_F(CredentialSourceTest, RejectedOnesAreRenewedAtOnceAndOnce) {
  const Credentials old = named("OLD", hours(1));
  const auto credentials = source(old);
  will_renew(named("NEW", hours(1)));
  EXPECT_TRUE(credentials->invalidate(old));
  EXPECT_TRUE(credentials->invalidate(old)) << "another request that was on its way";
  EXPECT_EQ(credentials->current().access_key, "NEW");
  EXPECT_TRUE(credentials->invalidate(old)) << "there are others by now";
  EXPECT_EQ(credentials->current().access_key, "NEW");
  EXPECT_EQ(asked, 1U);
}

TEST_F(CredentialSourceTest, ThoseThatStayTheSameAreRejectedOnceAMinute) {
  const Credentials keys{"KEY", "s", ""};
  const auto credentials = source(keys);
  for (int i = 0; i < 2; ++i, pass(seconds(60))) {
    will_renew(keys);
    EXPECT_TRUE(credentials->invalidate(keys));
    EXPECT_EQ(credentials->current(), keys);
    EXPECT_FALSE(credentials->invalidate(keys));
    pass(seconds(59));
    EXPECT_FALSE(credentials->invalidate(keys));
    pass(-seconds(59));
  }
  EXPECT_EQ(asked, 2U);
}

TEST_F(CredentialSourceTest, RejectedAndNotRenewedAreGivenOutAgain) {
  const Credentials keys{"KEY", "s", ""};
  const auto credentials = source(keys);
  EXPECT_TRUE(credentials->invalidate(keys));
  EXPECT_EQ(credentials->current(), keys) << "the service's own words become the error";
  EXPECT_EQ(asked, 1U);
}

TEST(FindCredentials, KeysThatAreReplacedInTheFileAreFound) {
  testing::FakeEnvironment around;
  const auto set_keys = [&](const char* name) {
    around.files["/home/u/.aws/credentials"] =
        fmt::format("[default]\naws_access_key_id = {}\naws_secret_access_key = s\n", name);
  };
  set_keys("FIRST");
  const FoundCredentials found = find_credentials({}, around.get());
  EXPECT_EQ(found.region, "us-east-1");
  set_keys("SECOND");
  const Credentials first = found.source->current();
  EXPECT_EQ(first.access_key, "FIRST") << "the file is not read for every request";
  EXPECT_TRUE(found.source->invalidate(first));
  EXPECT_EQ(found.source->current().access_key, "SECOND");
}

TEST(FindCredentials, ThoseOfTheParametersAndTheEnvironmentStay) {
  testing::FakeEnvironment around;
  CredentialParameters parameters;
  parameters.access_key = parameters.secret_key = "x";
  const auto given = find_credentials(parameters, around.get()).source;
  EXPECT_FALSE(given->invalidate(given->current()));
}

TEST(FindCredentials, ThoseOfAnInstanceGoOnPastTheirEnd) {
  testing::FakeEnvironment around;
  testing::LogOfErrors log;
  around.listen_at("http://169.254.169.254");
  const auto script_instance = [&](const char* name, const char* end) {
    around.server.then(answer(200, "imdstoken"));
    around.server.then(answer(200, "role"));
    around.server.then(answer(200, testing::metadata_document(name, end)));
  };
  script_instance("ENDED", "2001-09-09T01:00:00Z");
  const auto source = find_credentials({}, around.get()).source;
  script_instance("ENDED", "2001-09-09T01:00:00Z");
  EXPECT_EQ(source->current().access_key, "ENDED");
  around.now += minutes(1);
  script_instance("NEW", "2001-09-09T07:00:00Z");
  EXPECT_EQ(source->current().access_key, "NEW");
}

TEST(FindCredentials, ARoleIsAssumedAnewBeforeItsSessionEnds) {
  testing::FakeEnvironment around;
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  around.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/token";
  around.variables["AWS_ROLE_ARN"] = "arn:web";
  around.files["/token"] = "first";
  around.server.then(answer(200, testing::sts_document("AssumeRoleWithWebIdentity", "OLD")));
  const auto source = find_credentials({}, around.get()).source;
  EXPECT_EQ(source->current().access_key, "OLD");
  around.files["/token"] = "second";
  around.now += minutes(56);
  around.server.then(answer(200, testing::sts_document("AssumeRoleWithWebIdentity", "NEW")));
  EXPECT_EQ(source->current().access_key, "NEW");
  EXPECT_TRUE(around.server.requests().back().body.ends_with("WebIdentityToken=second"));
}

}  // namespace
}  // namespace nbdstack
