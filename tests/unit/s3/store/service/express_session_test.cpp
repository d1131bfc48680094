// Sessions of directory buckets: their life, and how HttpStore uses them.
#include "plugins/s3/store/service/express_session.hpp"

#include "common/hash/base64.hpp"
#include "common/hash/digest.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using std::chrono::minutes;
using testing::answer;
using testing::contains;
using testing::error_answer;
using testing::FakeClock;
using testing::kBody;
using testing::kBytes;

class ExpressSessionTest : public ::testing::Test {
 protected:
  using Answer = std::variant<NewSession, Failure>;

  // The name of the session that a request is signed with, or why it is not.
  std::string current(const Answer& answer) {
    const auto found = session.current([&] {
      ++asked;
      return answer;
    });
    const auto* const failure = std::get_if<Failure>(&found);
    return failure != nullptr ? failure->reason : std::get<Credentials>(found).access_key;
  }
  static Answer named(const std::string& name) {
    return NewSession{.credentials = {name, "secret", "token"}, .lifetime = minutes(5)};
  }

  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>();
  ExpressSession session{clock};
  int asked = 0;
};

TEST_F(ExpressSessionTest, OneServesUntilItsLastMinute) {
  EXPECT_EQ(current(named("1")), "1");
  clock->advance(minutes(4) - std::chrono::seconds(1));
  EXPECT_EQ(current(named("2")), "1");
  clock->advance(std::chrono::seconds(1));
  EXPECT_EQ(current(named("2")), "2");
  EXPECT_EQ(asked, 2);
}

TEST_F(ExpressSessionTest, WhatCannotBeRenewedServesToItsEnd) {
  const Answer down = Failure{.reason = "down"};
  EXPECT_EQ(current(named("1")), "1");
  clock->advance(minutes(4));
  EXPECT_EQ(current(down), "1");
  clock->advance(minutes(1));
  EXPECT_EQ(current(down), "down");
  EXPECT_EQ(current(named("2")), "2");
}

TEST_F(ExpressSessionTest, InTheLastMinuteOneRequestAsksAndTheOthersGoOn) {
  EXPECT_EQ(current(named("1")), "1");
  clock->advance(minutes(4));
  const auto renewed = session.current([&] {
    EXPECT_EQ(current(named("3")), "1") << "beside the one that asks";
    return named("2");
  });
  EXPECT_EQ(std::get<Credentials>(renewed).access_key, "2");
  EXPECT_EQ(asked, 1);
}

TEST_F(ExpressSessionTest, OneThatIsRefusedIsReplaced) {
  EXPECT_EQ(current(named("1")), "1");
  session.refuse({"2", "secret", "token"});
  EXPECT_EQ(current(named("3")), "1") << "another one was refused";
  session.refuse({"1", "secret", "token"});
  EXPECT_EQ(current(named("3")), "3");
}

TEST_F(ExpressSessionTest, AnAskingThatThrowsDoesNotKeepOthersFromAsking) {
  EXPECT_EQ(current(named("1")), "1");
  clock->advance(minutes(4));
  EXPECT_THROW(session.current([]() -> Answer { throw Error(ESHUTDOWN, "over"); }), Error);
  EXPECT_EQ(current(named("2")), "2");
}

TEST_F(ExpressSessionTest, TheLifetimeIsToldByTheServicesClock) {
  HttpResponse response;
  response.text =
      "<CreateSessionResult><Credentials><SessionToken>T</SessionToken><SecretAccessKey>S"
      "</SecretAccessKey><AccessKeyId>A</AccessKeyId><Expiration>2026-01-01T00:04:00Z</Expiration>"
      "</Credentials></CreateSessionResult>";
  EXPECT_EQ(parse_session(response)->lifetime, minutes(5)) << "without a date";
  response.headers = {{"date", "Thu, 01 Jan 2026 00:00:00 GMT"}};
  EXPECT_EQ(parse_session(response)->lifetime, minutes(4));
  EXPECT_EQ(parse_session(response)->credentials.session_token, "T");
  response.headers = {{"date", "Thu, 01 Jan 2026 00:05:00 GMT"}};
  EXPECT_EQ(parse_session(response)->lifetime, minutes(0));
  response.text = "<CreateSessionResult/>";
  EXPECT_EQ(parse_session(response), std::nullopt);
  response.text = "";
  EXPECT_EQ(parse_session(response), std::nullopt);
}

class HttpStoreSessionTest : public testing::HttpStoreFixture {
 protected:
  HttpStoreSessionTest() {
    place.scope.service = "s3express";
    place.is_fixed = true;
    config.location = std::make_shared<BucketLocation>(place);
    config.credentials = std::make_shared<CredentialSource>(Credentials{"KEY", "SECRET", "USER"});
    config.session = std::make_shared<ExpressSession>(std::make_shared<FakeClock>());
  }

  static testing::Answer session(const std::string& name) {
    return answer(200, "<CreateSessionResult><Credentials><SessionToken>T" + name +
                           "</SessionToken><SecretAccessKey>S</SecretAccessKey><AccessKeyId>" +
                           name +
                           "</AccessKeyId><Expiration>2026-01-01T00:05:00Z</Expiration>"
                           "</Credentials></CreateSessionResult>");
  }
  std::string sent(std::size_t request, const char* header) {
    return server.requests().at(request).header(header);
  }
};

TEST_F(HttpStoreSessionTest, RequestsAreSignedWithASessionAndTheSessionWithCredentials) {
  config.options.session_headers = {{"x-amz-create-session-mode", "ReadOnly"}};
  server.then(session("ONE"));
  server.then(answer(200, kBody));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  HttpStore other(config, clock);
  EXPECT_TRUE(other.get("k", body)) << "in the same session";
  EXPECT_EQ(server.requests().at(0).line, "GET /disk?session= HTTP/1.1");
  EXPECT_EQ(sent(0, "x-amz-create-session-mode"), "ReadOnly");
  EXPECT_EQ(sent(0, "x-amz-security-token"), "USER");
  EXPECT_TRUE(contains(sent(0, "authorization"), "=KEY/")) << sent(0, "authorization");
  for (const std::size_t request : {1U, 2U}) {
    EXPECT_EQ(sent(request, "x-amz-s3session-token"), "TONE");
    EXPECT_EQ(sent(request, "x-amz-security-token"), "");
    EXPECT_EQ(sent(request, "x-amz-create-session-mode"), "");
    EXPECT_TRUE(contains(sent(request, "authorization"), "=ONE/"));
    EXPECT_TRUE(contains(sent(request, "authorization"), "/us-east-1/s3express/aws4_request"));
  }
}

TEST_F(HttpStoreSessionTest, ASessionThatHasExpiredIsReplacedAtOnce) {
  config.retries = 0;
  server.then(session("ONE"));
  server.then(error_answer(400, "ExpiredToken"));
  server.then(session("TWO"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_TRUE(contains(sent(3, "authorization"), "=TWO/"));
}

TEST_F(HttpStoreSessionTest, ASessionThatIsRefusedAgainIsAnError) {
  config.retries = 0;
  server.then(session("ONE"));
  server.then(error_answer(400, "ExpiredToken"));
  server.then(session("TWO"));
  server.then(error_answer(400, "ExpiredToken"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EACCES);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(HttpStoreSessionTest, AnOutageOfSessionsPassesLikeEveryOther) {
  server.then(testing::hang_up());
  server.then(error_answer(503, "SlowDown"));
  server.then(session("ONE"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
}

TEST_F(HttpStoreSessionTest, WhoMayHaveNoSessionIsToldSo) {
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EACCES);
  EXPECT_TRUE(contains(message, "CreateSession: the service answered 403 AccessDenied")) << message;
  server.then(error_answer(404, "NoSuchBucket"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), ENOENT);
  server.then(answer(200, "<html/>"));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  EXPECT_TRUE(contains(message, "CreateSessionResult")) << message;
}

TEST_F(HttpStoreSessionTest, CredentialsThatEndedAreRenewedForTheSession) {
  config.credentials = std::make_shared<CredentialSource>(
      Credentials{"OLD", "SECRET", ""}, "test",
      [] {
        return Credentials{"NEW", "SECRET", ""};
      },
      [] { return std::chrono::system_clock::now(); });
  config.retries = 0;
  server.then(error_answer(400, "ExpiredToken"));
  server.then(session("ONE"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_TRUE(contains(sent(1, "authorization"), "=NEW/"));
}

TEST_F(HttpStoreSessionTest, ListingsAreAskedForAsADirectoryBucketTakesThem) {
  server.then(session("ONE"));
  server.then(answer(200,
                     "<ListBucketResult><Prefix>vol/</Prefix><KeyCount>4</KeyCount>"
                     "<Contents><Key>vol/00</Key></Contents><Contents><Key>vol/01</Key></Contents>"
                     "<Contents><Key>vol/02</Key></Contents><Contents><Key>vol/1</Key></Contents>"
                     "</ListBucketResult>"));
  std::vector<std::string> keys;
  store().list("vol/0", "vol/00", [&](const ListedObject& object) {
    keys.push_back(object.key);
    return true;
  });
  EXPECT_EQ(keys, (std::vector<std::string>{"vol/01", "vol/02"}));
  const std::string line = server.requests().at(1).line;
  EXPECT_TRUE(contains(line, "prefix=vol%2F ")) << line;
  EXPECT_FALSE(contains(line, "start-after")) << line;
}

TEST_F(HttpStoreSessionTest, BodiesCarryTheChecksumThatADirectoryBucketKnows) {
  server.then(session("ONE"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  store().put("k", kBytes, {});
  EXPECT_EQ(sent(1, "content-md5"), "");
  EXPECT_EQ(sent(1, "x-amz-checksum-sha256"), to_base64(sha256(kBytes)));
  server.then(answer(200, "<DeleteResult/>"));
  store().remove(std::vector<std::string>{"a", "b"});
  EXPECT_EQ(sent(2, "content-md5"), "");
  EXPECT_EQ(sent(2, "x-amz-checksum-sha256"),
            to_base64(sha256(std::as_bytes(std::span(server.requests().at(2).body)))));
}

}  // namespace
}  // namespace nbdstack
