// A bucket in another region than the one that is asked.
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::contains;
using testing::error_answer;
using testing::kBody;
using testing::kBytes;
using testing::LogOfErrors;
using testing::ScriptedHttpServer;

class HttpStoreRegionTest : public testing::HttpStoreFixture {
 protected:
  // Which region each request was signed for.
  std::vector<std::string> regions() {
    std::vector<std::string> regions;
    for (const auto& each : server.requests()) {
      const std::string text = each.header("authorization");
      const std::size_t end = text.find("/s3/aws4_request");
      const std::size_t begin = text.rfind('/', end - 1) + 1;
      regions.push_back(text.empty() ? "" : text.substr(begin, end - begin));
    }
    return regions;
  }

  static testing::Answer moved_to(const std::string& region) {
    return error_answer(301, "PermanentRedirect", {{"x-amz-bucket-region", region}});
  }

  LogOfErrors log;
};

TEST_F(HttpStoreRegionTest, APutGoesOnWithAllOfItsBodyAndLaterRequestsGoThereAtOnce) {
  server.then(moved_to("eu-west-1"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().put("k", kBytes, {}).etag, "\"1\"");
  server.then(answer(204));
  store().remove(std::vector<std::string>{"k"});
  const std::vector<std::string> expected{"us-east-1", "eu-west-1", "eu-west-1"};
  EXPECT_EQ(regions(), expected);
  EXPECT_EQ(server.requests().at(1).body, kBody);
  EXPECT_EQ(log.count({"bucket disk is in region eu-west-1"}), 1U);
}

// Deleted, and made again elsewhere.
TEST_F(HttpStoreRegionTest, ABucketThatMovesWhileItIsServedIsFollowedOnce) {
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  store().put("k", kBytes, {});
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  for (const char* region : {"eu-west-1", "ap-south-1"}) {
    server.then(moved_to(region));
    if (region == std::string("eu-west-1")) server.then(answer(200, kBody));
    EXPECT_EQ(errno_of([&] { store().get("k", body); }),
              region == std::string("eu-west-1") ? 0 : EIO);
  }
  EXPECT_TRUE(contains(message, "ap-south-1")) << message;
  EXPECT_TRUE(contains(message, "set region to where it is, and restart")) << message;
  const std::vector<std::string> expected{"us-east-1", "us-east-1", "us-east-1", "eu-west-1",
                                          "eu-west-1"};
  EXPECT_EQ(regions(), expected);
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body)) << "it may come back";
}

TEST_F(HttpStoreRegionTest, WhatOneStoreLearnsAllOfThemKnow) {
  server.then(moved_to("eu-west-1"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  HttpStore other(config, clock);
  server.then(answer(200, kBody));
  EXPECT_TRUE(other.get("k", body));
  EXPECT_EQ(regions().back(), "eu-west-1");
  EXPECT_EQ(log.count({"eu-west-1"}), 1U);
}

TEST_F(HttpStoreRegionTest, ASecondRedirectIsAnErrorThatSaysWhatToSet) {
  server.then(moved_to("eu-west-1"));
  server.then(moved_to("ap-south-1"));
  EXPECT_EQ(errno_of([&] { store().check_bucket(""); }), EIO);
  EXPECT_TRUE(contains(message, "301 PermanentRedirect")) << message;
  EXPECT_TRUE(contains(message, "set region")) << message;
  EXPECT_EQ(server.requests().size(), 2U);
}

// The control of this file: credentials reach nobody but the service.
TEST_F(HttpStoreRegionTest, NothingIsSentToAForeignHost) {
  ScriptedHttpServer foreign;
  const std::string host = foreign.url().substr(foreign.url().find("//") + 2);
  for (const testing::Answer& sends_away :
       {answer(301, "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region><Endpoint>" +
                        host + "</Endpoint></Error>"),
        answer(307, "", {{"Location", foreign.url() + "/disk/k"}}),
        answer(302, "", {{"Location", foreign.url()}, {"x-amz-bucket-region", "eu-west-1"}}),
        answer(400,
               "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>"
               "<Endpoint>" +
                   host + "</Endpoint></Error>")}) {
    server.then(sends_away);
    EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {}); }), EIO);
    EXPECT_TRUE(contains(message, host)) << message;
    EXPECT_TRUE(contains(message, "endpoint-url")) << message;
  }
  EXPECT_EQ(foreign.connections(), 0U);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(HttpStoreRegionTest, CredentialsThatEndOnTheWayAreRenewedThere) {
  config.retries = 0;
  config.credentials = std::make_shared<CredentialSource>(
      Credentials{"OLD", "SECRET", ""}, "test",
      [] {
        return Credentials{"NEW", "SECRET", ""};
      },
      [] { return std::chrono::system_clock::now(); });
  server.then(moved_to("eu-west-1"));
  server.then(error_answer(400, "ExpiredToken"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_TRUE(contains(server.requests().at(2).header("authorization"), "NEW/"));
  EXPECT_EQ(regions().at(2), "eu-west-1");
}

TEST_F(HttpStoreRegionTest, ARefusedRegionIsNoRefusalOfConditions) {
  server.then(answer(
      400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>garage</Region></Error>"));
  server.then(answer(200, "", {{"ETag", "\"1\""}}));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only, .is_trial = true}).result,
            PutResult::stored);
  EXPECT_EQ(regions().at(1), "garage");
}

TEST_F(HttpStoreRegionTest, APublicBucketIsFollowedUnsigned) {
  config.credentials = std::make_shared<CredentialSource>(Credentials());
  server.then(moved_to("eu-west-1"));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_EQ(server.requests().at(1).header("authorization"), "");
}

}  // namespace
}  // namespace nbdstack
