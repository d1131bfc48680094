#include "plugins/s3/aws/sts.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::hang_up;
using testing::sts_document;

std::string refusal(const std::string& code, const std::string& message) {
  return fmt::format(
      "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
      "<Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>"
      "</ErrorResponse>",
      code, message);
}

class StsTest : public ::testing::Test {
 protected:
  Credentials assume() {
    return assume_role(role, {"KEY", "hunter2", "TOKEN"}, AwsSettings(around.get(), parameters));
  }
  Credentials assume_by_token() {
    return assume_role_with_web_identity(role, "/token", AwsSettings(around.get(), parameters));
  }
  template <typename Call>
  Error failure(Call call) {
    try {
      call();
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("arn:aws:iam::1:role/r"), std::string::npos) << message;
      EXPECT_EQ(message.find("hunter2"), std::string::npos) << message;
      return error;
    }
    return {EIO, "no failure"};
  }

  RoleRequest role{
      .role_arn = "arn:aws:iam::1:role/r", .session_name = {}, .external_id = {}, .duration_s = {}};
  CredentialParameters parameters{.region = "eu-west-3"};
  testing::FakeEnvironment around;
};

TEST_F(StsTest, RoleIsAssumedByASignedRequestToTheRegion) {
  around.listen_at("https://sts.eu-west-3.amazonaws.com");
  around.server.then(answer(200, sts_document("AssumeRole", "ROLE")));
  EXPECT_EQ(assume(),
            (Credentials{"ROLE", "stssecret", "ststoken", around.now + std::chrono::hours(1)}));
  const auto seen = around.server.requests().at(0);
  EXPECT_EQ(seen.line, "POST / HTTP/1.1");
  EXPECT_EQ(seen.body,
            "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
            "RoleSessionName=nbdkit-s3-1000000000&Version=2011-06-15");
  EXPECT_EQ(seen.header("host"), "sts.eu-west-3.amazonaws.com");
  EXPECT_EQ(seen.header("x-amz-security-token"), "TOKEN");
  EXPECT_NE(seen.header("authorization").find("Credential=KEY/20010909/eu-west-3/sts/aws4_request"),
            std::string::npos)
      << seen.header("authorization");
}

TEST_F(StsTest, GlobalEndpointIsUsedOnlyWhereItIsAskedForAndStandsForTheRegion) {
  const auto expect_host = [&](const std::string& host, const std::string& signed_for) {
    around.redirected.clear();
    around.listen_at("https://" + host);
    around.server.then(answer(200, sts_document("AssumeRole", "ROLE")));
    EXPECT_EQ(assume().access_key, "ROLE") << host;
    const std::string value = around.server.requests().back().header("authorization");
    EXPECT_NE(value.find("/" + signed_for + "/sts/"), std::string::npos) << value;
  };
  around.variables["AWS_STS_REGIONAL_ENDPOINTS"] = "legacy";
  expect_host("sts.amazonaws.com", "us-east-1");
  around.variables["AWS_USE_FIPS_ENDPOINT"] = "true";
  expect_host("sts-fips.eu-west-3.amazonaws.com", "eu-west-3");
  around.variables.erase("AWS_USE_FIPS_ENDPOINT");
  parameters.region = "eu-south-1";
  expect_host("sts.eu-south-1.amazonaws.com", "eu-south-1");
  parameters.region = "cn-north-1";
  expect_host("sts.cn-north-1.amazonaws.com.cn", "cn-north-1");
}

TEST_F(StsTest, AnEndpointOfTheProfileIsUsed) {
  around.files["/home/u/.aws/config"] =
      "[default]\nservices = mine\n[services mine]\nsts =\n  endpoint_url = " +
      around.server.url() + "\n";
  around.server.then(answer(200, sts_document("AssumeRole", "ROLE")));
  EXPECT_EQ(assume().access_key, "ROLE");
}

TEST_F(StsTest, WhatTheProfileSaysIsSent) {
  around.variables["AWS_ENDPOINT_URL"] = around.server.url() + "/base/";
  role.session_name = "me@home";
  role.external_id = "ext";
  role.duration_s = 900;
  around.server.then(answer(200, sts_document("AssumeRole", "ROLE")));
  assume();
  const auto seen = around.server.requests().at(0);
  EXPECT_EQ(seen.line, "POST /base/ HTTP/1.1");
  for (const char* part : {"RoleSessionName=me%40home", "ExternalId=ext", "DurationSeconds=900"}) {
    EXPECT_NE(seen.body.find(part), std::string::npos) << part;
  }
}

TEST_F(StsTest, WebIdentityIsNotSignedAndItsTokenReadAnew) {
  around.variables["AWS_ENDPOINT_URL"] = "http://nobody.example.com";
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  for (const char* token : {"first\n", "second"}) {
    around.files["/token"] = token;
    around.server.then(answer(200, sts_document("AssumeRoleWithWebIdentity", "WEB")));
    EXPECT_EQ(assume_by_token().access_key, "WEB");
  }
  const auto seen = around.server.requests();
  EXPECT_EQ(seen.at(0).header("authorization"), "");
  EXPECT_TRUE(seen.at(0).body.ends_with("WebIdentityToken=first")) << seen.at(0).body;
  EXPECT_TRUE(seen.at(1).body.ends_with("WebIdentityToken=second")) << seen.at(1).body;
}

TEST_F(StsTest, WebIdentityWithoutATokenNamesTheFile) {
  const auto call = [&] { assume_by_token(); };
  EXPECT_NE(std::string(failure(call).what()).find("/token"), std::string::npos);
  around.files["/token"] = "\n";
  EXPECT_NE(std::string(failure(call).what()).find("/token"), std::string::npos);
}

TEST_F(StsTest, ChinaHasADomainOfItsOwn) {
  parameters.region = "cn-north-1";
  EXPECT_EQ(failure([&] { assume(); }).code(), ETIMEDOUT);
  EXPECT_EQ(around.urls.at(0), "https://sts.cn-north-1.amazonaws.com.cn/");
}

TEST_F(StsTest, RefusalIsQuotedButNotTheRequestInIt) {
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  around.server.then(answer(
      403, refusal("SignatureDoesNotMatch", "it does not match.\n\nx-amz-security-token:hunter2")));
  const Error error = failure([&] { assume(); });
  EXPECT_EQ(error.code(), EACCES);
  EXPECT_NE(std::string(error.what()).find("SignatureDoesNotMatch"), std::string::npos)
      << error.what();
  around.server.then(answer(400, refusal("ExpiredTokenException", "Token expired")));
  around.files["/token"] = "hunter2";
  EXPECT_EQ(failure([&] { assume_by_token(); }).code(), EACCES);
}

TEST_F(StsTest, WhatPassesIsTriedAgain) {
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  around.server.then(answer(400, refusal("Throttling", "Rate exceeded")));
  around.server.then(answer(503));
  around.server.then(hang_up());
  around.server.then(answer(200, sts_document("AssumeRole", "ROLE")));
  EXPECT_EQ(assume().access_key, "ROLE");
}

TEST_F(StsTest, AnAnswerOfSomethingElseIsNoCredentials) {
  around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url();
  for (const std::string& text :
       {std::string("<html>hunter2</html>"), std::string("hunter2"), sts_document("AssumeRole", ""),
        sts_document("AssumeRoleWithSAML", "hunter2")}) {
    around.server.then(answer(200, text));
    EXPECT_EQ(failure([&] { assume(); }).code(), EACCES) << text;
  }
}

TEST_F(StsTest, AnEndpointThatCannotBeIsNamedByItsVariable) {
  around.variables["AWS_ENDPOINT_URL_STS"] = "sts.example.com";
  try {
    assume();
    FAIL() << "sent";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("AWS_ENDPOINT_URL_STS"), std::string::npos);
  }
}

}  // namespace
}  // namespace nbdstack
