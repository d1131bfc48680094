// Where a bucket is, as answers tell it: what is believed of them, and to whom credentials go.
#include "plugins/s3/store/service/bucket_location.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::contains;

BucketLocationConfig of_aws() {
  return {.bucket = "disk",
          .endpoint = Endpoint::of_region("us-east-1"),
          .scope = {.region = "us-east-1"}};
}

BucketLocationConfig at(const char* url) {
  return {.bucket = "disk", .endpoint = Endpoint::parse(url), .scope = {.region = "us-east-1"}};
}

HttpResponse told(int status, const std::string& code, const std::string& elements = "",
                  const HeaderList& headers = {}) {
  HttpResponse response;
  response.status = status;
  response.headers = headers;
  response.text = "<Error><Code>" + code + "</Code><Message>no</Message>" + elements + "</Error>";
  return response;
}

HttpResponse header_only(int status, const HeaderList& headers) {
  HttpResponse response;
  response.status = status;
  response.headers = headers;
  return response;
}

std::string host_of(const BucketLocation& location) {
  return location.current()->address.host_header();
}
std::string region_of(const BucketLocation& location) {
  return location.current()->scope.region;
}

class BucketLocationTest : public ::testing::Test {
 protected:
  // What is wrong with an answer to a request to where the bucket is by now.
  static std::string why_not(BucketLocation& location, const HttpResponse& response) {
    const auto asked = location.current();
    EXPECT_FALSE(location.learn(*asked, response));
    EXPECT_EQ(location.current(), asked) << "it went there";
    return location.refusal(*asked, response).value_or("");
  }

  testing::LogOfErrors log;
};

TEST_F(BucketLocationTest, EveryAnswerThatNamesTheRegionIsFollowed) {
  const Header region{"x-amz-bucket-region", "eu-west-1"};
  for (const HttpResponse& response : {
           told(301, "PermanentRedirect", "<Endpoint>disk.s3.eu-west-1.amazonaws.com</Endpoint>"),
           told(301, "PermanentRedirect", "<Endpoint>disk.s3-eu-west-1.amazonaws.com</Endpoint>"),
           told(301, "PermanentRedirect", "", {region}),
           told(307, "TemporaryRedirect",
                "<Endpoint>s3.dualstack.eu-west-1.amazonaws.com</Endpoint>"),
           header_only(307, {{"location", "https://disk.s3-eu-west-1.amazonaws.com/a/b?c=d"}}),
           header_only(302, {{"location", "http://s3.eu-west-1.amazonaws.com/disk/a"}}),
           header_only(308, {region}),
           header_only(301, {region}),
           told(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
           told(400, "IllegalLocationConstraintException", "<Region>eu-west-1</Region>"),
           header_only(400, {region}),
           told(403, "AccessDenied", "", {region}),
       }) {
    BucketLocation location(of_aws());
    EXPECT_TRUE(location.learn(*location.current(), response)) << response.text;
    EXPECT_EQ(host_of(location), "s3.eu-west-1.amazonaws.com") << response.text;
    EXPECT_EQ(region_of(location), "eu-west-1") << response.text;
  }
}

TEST_F(BucketLocationTest, WhatIsNotAboutTheRegionTeachesNothing) {
  const Header here{"x-amz-bucket-region", "us-east-1"};
  const Header there{"x-amz-bucket-region", "eu-west-1"};
  for (const HttpResponse& response : {
           told(403, "AccessDenied", "", {here}),
           told(400, "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>"),
           told(400, "AuthorizationHeaderMalformed"),
           // Garage tells its region with every error.
           told(403, "AccessDenied", "<Region>garage</Region>"),
           told(400, "InvalidRequest", "<Region>garage</Region>"),
           told(404, "NoSuchKey", "", {there}),
           told(503, "SlowDown", "", {there}),
           header_only(200, {there}),
       }) {
    BucketLocation location(of_aws());
    EXPECT_EQ(why_not(location, response), "") << response.status << response.text;
  }
}

TEST_F(BucketLocationTest, ItIsLearntOnceAndSaidOnce) {
  BucketLocation location(of_aws());
  const auto first = location.current();
  const auto to = [](const char* region) {
    return told(301, "PermanentRedirect", "", {{"x-amz-bucket-region", region}});
  };
  EXPECT_TRUE(location.learn(*first, to("eu-west-1")));
  EXPECT_TRUE(location.learn(*first, to("eu-west-1"))) << "one that was under way meanwhile";
  EXPECT_EQ(log.count({"disk", "eu-west-1", "us-east-1", "region=eu-west-1"}), 1U);
  const std::string reason = why_not(location, to("ap-south-1"));
  EXPECT_TRUE(contains(reason, "eu-west-1")) << reason;
  EXPECT_TRUE(contains(reason, "ap-south-1")) << reason;
  EXPECT_TRUE(contains(reason, "set region")) << reason;
  EXPECT_TRUE(contains(why_not(location, to("eu-west-1")), "set region")) << "in circles";
}

TEST_F(BucketLocationTest, AHostOfSomebodyElsesIsRefusedByName) {
  for (const char* host : {"evil.example", "disk.s3.eu-west-1.amazonaws.com.evil.example",
                           "s3.eu-west-1.amazonaws.com.cn", "evilamazonaws.com",
                           "https://evil.example/s3.eu-west-1.amazonaws.com",
                           "https://s3.eu-west-1.amazonaws.com@evil.example/"}) {
    BucketLocation location(of_aws());
    const HttpResponse response =
        told(301, "PermanentRedirect",
             "<Region>eu-west-1</Region><Endpoint>" + std::string(host) + "</Endpoint>");
    const std::string reason = why_not(location, response);
    EXPECT_TRUE(contains(reason, "301 PermanentRedirect")) << reason;
    EXPECT_TRUE(contains(reason, "no host of the service")) << reason;
    EXPECT_TRUE(contains(reason, "endpoint-url")) << reason;
  }
  BucketLocation location(of_aws());
  const std::string reason =
      why_not(location, header_only(302, {{"location", "http://portal.example/login"}}));
  EXPECT_TRUE(contains(reason, "portal.example")) << reason;
}

TEST_F(BucketLocationTest, AnotherPartitionIsRefused) {
  for (const char* region : {"us-gov-west-1", "cn-north-1"}) {
    BucketLocation location(of_aws());
    const std::string reason = why_not(
        location,
        told(400, "AuthorizationHeaderMalformed", "<Region>" + std::string(region) + "</Region>"));
    EXPECT_TRUE(contains(reason, region)) << reason;
    EXPECT_TRUE(contains(reason, "partition aws,")) << reason;
  }
}

TEST_F(BucketLocationTest, WhatIsNoRegionIsNotBelieved) {
  for (const char* region : {"evil.example/", "a.b", "", "eu west", "x/../y"}) {
    BucketLocation location(of_aws());
    const std::string reason =
        why_not(location, told(301, "PermanentRedirect", "", {{"x-amz-bucket-region", region}}));
    EXPECT_TRUE(contains(reason, "set region")) << reason;
  }
}

TEST_F(BucketLocationTest, FormsOfAwsHostsAreKept) {
  const HttpResponse moved =
      told(301, "PermanentRedirect", "", {{"x-amz-bucket-region", "eu-west-1"}});
  for (const auto& [from, to] :
       {std::pair{"https://s3.amazonaws.com", "s3.eu-west-1.amazonaws.com"},
        {"https://s3.us-west-2.amazonaws.com", "s3.eu-west-1.amazonaws.com"},
        {"https://s3-us-west-2.amazonaws.com", "s3.eu-west-1.amazonaws.com"},
        {"https://s3.dualstack.us-west-2.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com"},
        {"https://s3-fips.us-west-2.amazonaws.com", "s3-fips.eu-west-1.amazonaws.com"}}) {
    BucketLocation location(at(from));
    EXPECT_TRUE(location.learn(*location.current(), moved)) << from;
    EXPECT_EQ(host_of(location), to);
  }
  BucketLocationConfig config = of_aws();
  config.virtual_host = true;
  BucketLocation location(config);
  EXPECT_TRUE(location.learn(*location.current(), moved));
  EXPECT_EQ(host_of(location), "disk.s3.eu-west-1.amazonaws.com");
}

TEST_F(BucketLocationTest, AnEndpointGivenWithoutItsRegionIsSignedForRight) {
  BucketLocation location(at("https://s3.cn-north-1.amazonaws.com.cn"));
  EXPECT_TRUE(location.learn(*location.current(), told(400, "AuthorizationHeaderMalformed",
                                                       "<Region>cn-north-1</Region>")));
  EXPECT_EQ(region_of(location), "cn-north-1");
  EXPECT_EQ(host_of(location), "s3.cn-north-1.amazonaws.com.cn");
}

TEST_F(BucketLocationTest, ElsewhereTheRegionIsThatOfTheSignatureAlone) {
  for (const char* url :
       {"http://store.example:3900", "https://vpce-1.s3.us-east-1.vpce.amazonaws.com"}) {
    BucketLocation location(at(url));
    const std::string host = host_of(location);
    EXPECT_TRUE(location.learn(
        *location.current(), told(400, "AuthorizationHeaderMalformed", "<Region>garage</Region>")));
    EXPECT_EQ(host_of(location), host);
    EXPECT_EQ(region_of(location), "garage");
  }
}

TEST_F(BucketLocationTest, ElsewhereTheHostStaysTheOneThatWasGiven) {
  const auto to = [](const std::string& host) {
    return told(301, "PermanentRedirect", "<Region>eu-2</Region><Endpoint>" + host + "</Endpoint>");
  };
  for (const char* host : {"store.example", "Store.Example:3900", "disk.store.example"}) {
    BucketLocation location(at("http://store.example:3900"));
    EXPECT_TRUE(location.learn(*location.current(), to(host))) << host;
    EXPECT_EQ(host_of(location), "store.example:3900");
  }
  for (const char* host :
       {"eu.store.example", "store.example:3901", "s3.amazonaws.com", "other.store.example"}) {
    BucketLocation location(at("http://store.example:3900"));
    const std::string reason = why_not(location, to(host));
    EXPECT_TRUE(contains(reason, host)) << reason;
  }
  BucketLocation vpce(at("https://vpce-1.s3.us-east-1.vpce.amazonaws.com"));
  EXPECT_TRUE(contains(why_not(vpce, to("s3.eu-west-1.amazonaws.com")), "no host of the service"));
}

TEST_F(BucketLocationTest, WhereTheNameSaysTheRegionNothingElseDoes) {
  BucketLocationConfig config = of_aws();
  config.is_fixed = true;
  BucketLocation location(config);
  const std::string reason =
      why_not(location, told(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"));
  EXPECT_TRUE(contains(reason, "bucket")) << reason;
  EXPECT_TRUE(contains(reason, "eu-west-1")) << reason;
}

}  // namespace
}  // namespace nbdstack
