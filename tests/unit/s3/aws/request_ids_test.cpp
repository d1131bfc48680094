// Whatever a service answers that leads to an error: the message tells the ids by which its people
// find the request.
#include "plugins/s3/aws/request_ids.hpp"

#include "plugins/s3/aws/credential_http.hpp"
#include "plugins/s3/aws/sts.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "tests/unit/s3/aws/fake_environment.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::AnswerHeaders;
using testing::contains;
using testing::error_answer;
using testing::kBytes;

const AnswerHeaders kHeaders{
    {"X-Amz-Request-Id", "4442587FB7D0A2F9"},
    {"x-amz-id-2", "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5"}};
const std::string kInHeaders =
    " (x-amz-request-id: 4442587FB7D0A2F9, x-amz-id-2: "
    "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5)";
const std::string kErrorWithIds =
    "<Error><Code>AccessDenied</Code><Message>no</Message><RequestId>0A49CE4060975EAC</RequestId>"
    "<HostId>hW/wXg==</HostId></Error>";
const std::string kInBody = " (RequestId: 0A49CE4060975EAC, HostId: hW/wXg==)";

HttpResponse response(HeaderList headers, std::string text) {
  HttpResponse made{.status = 403};
  made.headers = std::move(headers);
  made.text = std::move(text);
  return made;
}

TEST(RequestIds, EachComesFromItsHeaderOrElseFromTheDocument) {
  EXPECT_EQ(request_ids_of(response({}, "")), "");
  EXPECT_EQ(request_ids_of(response({}, "<html><RequestId>1</RequestId></html>")), "");
  EXPECT_EQ(request_ids_of(response({}, kErrorWithIds)),
            "RequestId: 0A49CE4060975EAC, HostId: hW/wXg==");
  EXPECT_EQ(request_ids_of(response({{"x-amz-request-id", "tx01-default"}}, kErrorWithIds)),
            "x-amz-request-id: tx01-default, HostId: hW/wXg==");
  EXPECT_EQ(request_ids_of(response({}, ""), kErrorWithIds),
            "RequestId: 0A49CE4060975EAC, HostId: hW/wXg==");
}

TEST(RequestIds, StsTellsItsOwn) {
  const std::string document =
      "<ErrorResponse><Error><Code>AccessDenied</Code></Error><RequestId>c6104cbe</RequestId>"
      "</ErrorResponse>";
  EXPECT_EQ(request_ids_of(response({}, document)), "RequestId: c6104cbe");
  EXPECT_EQ(request_ids_of(response({{"x-amzn-requestid", "c6104cbe"}}, "")),
            "x-amzn-requestid: c6104cbe");
}

TEST(RequestIds, WhatIsNoIdDoesNotGetIntoTheLog) {
  EXPECT_EQ(
      request_ids_of(response({}, "<Error><RequestId>1\n2\033[2J \xc3\xa4</RequestId></Error>")),
      "RequestId: 1?2?[2J???");
  const std::string cut = request_ids_of(response({{"x-amz-id-2", std::string(100'000, 'x')}}, ""));
  EXPECT_EQ(cut, "x-amz-id-2: " + std::string(128, 'x') + "...");
  EXPECT_EQ(request_ids_of(response(
                {}, "<Error><RequestId>1</RequestId>" + std::string(1 << 20, ' ') + "</Error>")),
            "");
}

class RequestIdsTest : public testing::HttpStoreFixture {
 protected:
  struct Operation {
    const char* name;
    std::function<void(HttpStore&)> run;
  };
  // Those that have an answer of success without a body, and those that have one.
  std::vector<Operation> changes{
      {"put", [](HttpStore& store) { store.put("k", kBytes, {}); }},
      {"create", [](HttpStore& store) { store.put("k", kBytes, {.mode = PutMode::create_only}); }},
      {"replace",
       [](HttpStore& store) {
         store.put("k", kBytes, {.mode = PutMode::if_match, .etag = "\"1\""});
       }},
      {"remove one", [](HttpStore& store) { store.remove(std::vector<std::string>{"k"}); }},
      {"remove many",
       [](HttpStore& store) {
         store.remove(std::vector<std::string>{"k", "l"});
       }},
  };
  std::vector<Operation> reads{
      {"get", [this](HttpStore& store) { store.get("k", std::span(buffer_).first(512)); }},
      {"get_range",
       [this](HttpStore& store) {
         store.get_range("k", std::span(buffer_).first(4), {.offset = 0, .object_bytes = 8});
       }},
      {"fetch", [this](HttpStore& store) { store.fetch("k", buffer_); }},
      {"get_text", [](HttpStore& store) { store.get_text("k", 4096); }},
      {"look_up", [](HttpStore& store) { store.look_up("k"); }},
      {"list",
       [](HttpStore& store) { store.list("", "", [](const ListedObject&) { return true; }); }},
      {"check_bucket", [](HttpStore& store) { store.check_bucket(""); }},
  };
  void expect_told(const Operation& operation, const Answer& met, const std::string& ids) {
    server.then(met);
    EXPECT_NE(errno_of([&] { operation.run(store()); }), 0) << operation.name;
    EXPECT_TRUE(contains(message, ids)) << operation.name << ": " << message;
  }

 private:
  std::array<std::byte, 4096> buffer_{};
};

TEST_F(RequestIdsTest, AStatusThatIsAnError) {
  for (const auto& operations : {changes, reads}) {
    for (const Operation& each : operations) {
      expect_told(each, error_answer(403, "AccessDenied", kHeaders), kInHeaders);
      expect_told(each, answer(403, kErrorWithIds), kInBody);
    }
  }
}

// Not tried again, for the sake of this test.
TEST_F(RequestIdsTest, AnErrorInAnAnswerOfSuccess) {
  config.retries = 0;
  for (const auto& operations : {changes, reads}) {
    for (const Operation& each : operations) {
      expect_told(each, answer(200, kErrorWithIds, kHeaders), kInHeaders);
      expect_told(each, answer(200, kErrorWithIds), kInBody);
    }
  }
}

TEST_F(RequestIdsTest, AKeyThatWasNotRemoved) {
  server.then(answer(200,
                     "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code>"
                     "<Message>no</Message></Error></DeleteResult>",
                     kHeaders));
  EXPECT_EQ(errno_of([&] { store().remove(std::vector<std::string>{"k", "l"}); }), EACCES);
  EXPECT_TRUE(contains(message, "k was not removed")) << message;
  EXPECT_TRUE(contains(message, kInHeaders)) << message;
}

TEST_F(RequestIdsTest, ABodyThatIsNotWhatWasStored) {
  config.retries = 0;
  AnswerHeaders headers = kHeaders;
  headers.emplace_back("x-amz-meta-nbdstack-xxh3", "00000000000000000000000000000000");
  expect_told(reads.front(), answer(200, std::string(512, 'x'), headers), kInHeaders);
  EXPECT_TRUE(contains(message, "corrupted")) << message;
  expect_told(reads.front(), answer(200, "1234", kHeaders), kInHeaders);
}

TEST_F(RequestIdsTest, AClockThatIsOffAndAListingThatContradictsItself) {
  config.retries = 0;
  AnswerHeaders headers = kHeaders;
  headers.emplace_back("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
  expect_told(reads.front(), error_answer(403, "RequestTimeTooSkewed", headers), kInHeaders);
  const std::string page =
      "<ListBucketResult><Prefix></Prefix><KeyCount>7</KeyCount><IsTruncated>false</IsTruncated>"
      "</ListBucketResult>";
  expect_told(reads.at(5), answer(200, page, kHeaders), kInHeaders);
}

TEST_F(RequestIdsTest, ConditionsThatAreRefused) {
  server.then(error_answer(400, "InvalidArgument", kHeaders));
  const auto outcome = store().put("k", kBytes, {.mode = PutMode::create_only, .is_trial = true});
  EXPECT_EQ(outcome.result, PutResult::unsupported);
  EXPECT_TRUE(contains(outcome.reason, kInHeaders)) << outcome.reason;
}

// They differ in each attempt, which makes them no other failures.
TEST_F(RequestIdsTest, OfManyAttemptsThatMeetTheSameTheLastOneTells) {
  for (int i = 0; i < 100; ++i) {
    server.then(error_answer(503, "SlowDown", {{"x-amz-request-id", fmt::format("id{:03}", i)}}));
  }
  EXPECT_EQ(errno_of([&] { store().look_up("k"); }), ETIMEDOUT);
  EXPECT_FALSE(contains(message, "before that")) << message;
  EXPECT_TRUE(contains(message, fmt::format("id{:03}", server.requests().size() - 1))) << message;
}

class CredentialRequestIds : public ::testing::Test {
 protected:
  static std::string failure(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no failure";
  }
  AwsSettings settings() {
    CredentialParameters parameters;
    parameters.region = "eu-west-3";
    return {around.get(), parameters};
  }
  testing::FakeEnvironment around;
};

TEST_F(CredentialRequestIds, Sts) {
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  const RoleRequest role{
      .role_arn = "arn:aws:iam::1:role/r", .session_name = {}, .external_id = {}, .duration_s = {}};
  const auto assume = [&] { assume_role(role, {"KEY", "SECRET", ""}, settings()); };
  around.server.then(answer(403,
                            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message>"
                            "</Error><RequestId>c6104cbe-af31</RequestId></ErrorResponse>"));
  std::string said = failure(assume);
  EXPECT_TRUE(contains(said, " (RequestId: c6104cbe-af31)")) << said;
  around.server.then(answer(200, "<Nothing/>", {{"x-amzn-RequestId", "c6104cbe-af32"}}));
  said = failure(assume);
  EXPECT_TRUE(contains(said, " (x-amzn-requestid: c6104cbe-af32)")) << said;
}

TEST_F(CredentialRequestIds, TheContainersEndpoint) {
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url() + "/creds";
  const auto ask = [&] { credentials_of_container(settings()); };
  const AnswerHeaders headers{{"x-amzn-RequestId", "c6104cbe"}};
  for (const auto& [status, text] : {std::pair(404, R"({"code":"x","message":"y"})"),
                                     std::pair(200, "no JSON"), std::pair(200, "{}")}) {
    around.server.then(answer(status, text, headers));
    const std::string said = failure(ask);
    EXPECT_TRUE(contains(said, " (x-amzn-requestid: c6104cbe)")) << said;
  }
}

TEST_F(CredentialRequestIds, TheInstancesMetadata) {
  around.listen_at("http://169.254.169.254");
  const AnswerHeaders headers{{"x-amzn-RequestId", "c6104cbe"}};
  std::string why_not;
  const auto ask = [&] { credentials_of_instance(settings(), why_not); };
  around.server.then(answer(400, "", headers));
  EXPECT_EQ(failure(ask), "no failure");
  EXPECT_TRUE(contains(why_not, " (x-amzn-requestid: c6104cbe)")) << why_not;
  around.server.then(answer(200, "token"));
  around.server.then(answer(401, "", headers));
  EXPECT_TRUE(contains(failure(ask), " (x-amzn-requestid: c6104cbe)"));
  around.server.then(answer(403, ""));
  around.server.then(answer(401, "", headers));
  EXPECT_TRUE(contains(failure(ask), "hop-limit must be 2 (x-amzn-requestid: c6104cbe)"));
}

}  // namespace
}  // namespace nbdstack
