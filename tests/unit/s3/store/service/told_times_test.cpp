// Times that a service tells: whatever they are, they are counted with.
#include <gtest/gtest.h>

#include <chrono>

#include "common/wall_time.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"

namespace nbdstack {
namespace {

using std::chrono::hours;
using std::chrono::system_clock;

constexpr hours kYear{24 * 365};

TEST(ToldTimesTest, CredentialsThatEndWhenTheClockHasEndedAreGoodForAllItsTime) {
  for (const char* text : {"9999-12-31T23:59:59Z", "2263-01-01T00:00:00Z"}) {
    const auto time = parse_iso_time(text);
    ASSERT_TRUE(time.has_value()) << text;
    EXPECT_GT(*time - system_clock::now(), 100 * kYear) << text;
  }
  EXPECT_EQ(parse_iso_time("0001-01-01T00:00:00Z"), system_clock::from_time_t(0));
}

TEST(ToldTimesTest, DatesAreAsFarApartAsTheClockCanTell) {
  EXPECT_GT(*parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT") - system_clock::now(), 100 * kYear);
  const HttpResponse response{.status = 200,
                              .headers = {{"date", "Fri, 31 Dec 9999 23:59:59 GMT"},
                                          {"last-modified", "Mon, 01 Jan 1601 00:00:00 GMT"}}};
  EXPECT_GT(info_of(response, 1).age, 100 * kYear);
}

TEST(ToldTimesTest, WhoAsksToComeBackNeverIsUnderstood) {
  const HttpResponse response{.status = 503,
                              .headers = {{"retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"}}};
  EXPECT_GT(unexpected(response).retry_after, 100 * kYear);
}

TEST(ToldTimesTest, SecondsBecomeMomentsOfTheClock) {
  EXPECT_EQ(wall_time_of(1'000'000'000), system_clock::from_time_t(1'000'000'000));
  EXPECT_EQ(wall_time_of(-1), system_clock::from_time_t(0));
  EXPECT_LE(wall_time_of(std::numeric_limits<std::time_t>::max()), system_clock::time_point::max());
}

}  // namespace
}  // namespace nbdstack
