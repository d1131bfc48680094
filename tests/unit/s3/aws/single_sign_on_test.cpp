#include "plugins/s3/aws/single_sign_on.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/aws/fake_environment.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::Answer;
using testing::LogOfErrors;

// `printf %s corp | sha1sum`, and of the start URL.
constexpr const char* kSessionCache =
    "/home/u/.aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";

const std::string kProfile =
    "[profile p]\nsso_session = corp\nsso_account_id = 123\nsso_role_name = my role\n";
const std::string kSession =
    "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n";

class SingleSignOnTest : public ::testing::Test {
 protected:
  SingleSignOnTest() {
    around.files[config_path] = kProfile + kSession;
    around.listen_at("https://portal.sso.eu-west-1.amazonaws.com");
    around.listen_at("https://oidc.eu-west-1.amazonaws.com");
  }

  std::optional<Credentials> found() {
    CredentialParameters parameters;
    parameters.profile = "p";
    const AwsSettings settings(around.get(), parameters);
    return credentials_of_single_sign_on(*settings.profile(), settings);
  }
  Error failure() {
    try {
      return {EIO, "found " + found().value_or(Credentials()).access_key};
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("\"p\""), std::string::npos) << message;
      EXPECT_EQ(message.find("hunter2"), std::string::npos) << message;
      return error;
    }
  }
  void expect_failure(int code, const std::vector<std::string>& parts) {
    const Error error = failure();
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << part << " is not in: " << error.what();
    }
  }
  // As the AWS CLI leaves it; the token of a session, which can be renewed.
  void keep_token(const std::string& token, const std::string& expires_at,
                  const std::string& registered_until = "2001-12-01T00:00:00Z") {
    around.files[cache_path] = fmt::format(
        R"({{"accessToken":"{}","expiresAt":"{}","clientId":"id","clientSecret":"hunter2-client",)"
        R"("refreshToken":"hunter2-refresh","registrationExpiresAt":"{}","scopes":["a"]}})",
        token, expires_at, registered_until);
  }
  static Answer role_credentials() {
    return answer(200, R"({"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s",)"
                       R"("sessionToken":"t","expiration":1000003600000}})");
  }
  static Answer new_token(const char* refresh_token) {
    return answer(200,
                  fmt::format(R"({{"accessToken":"NEW","expiresIn":3600,"tokenType":"Bearer"{}}})",
                              refresh_token));
  }
  std::string sent_token(std::size_t number) {
    return around.server.requests().at(number).header("x-amz-sso_bearer_token");
  }

  const std::string config_path = "/home/u/.aws/config";
  std::string cache_path = kSessionCache;
  testing::FakeEnvironment around;  // where it is 2001-09-09T01:46:40Z
};

TEST_F(SingleSignOnTest, RoleIsAskedForWithTheTokenOfTheSession) {
  keep_token("TOKEN", "2001-09-09T02:46:40Z");
  around.server.then(role_credentials());
  EXPECT_EQ(found(), (Credentials{"SSO", "s", "t", around.now + std::chrono::hours(1)}));
  const auto seen = around.server.requests().at(0);
  EXPECT_EQ(seen.line, "GET /federation/credentials?account_id=123&role_name=my%20role HTTP/1.1");
  EXPECT_EQ(seen.header("host"), "portal.sso.eu-west-1.amazonaws.com");
  EXPECT_EQ(seen.header("authorization"), "");
  EXPECT_EQ(sent_token(0), "TOKEN");
}

TEST_F(SingleSignOnTest, AProfileWithoutASessionHasItsTokenByTheStartUrl) {
  around.files[config_path] =
      "[profile p]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
      "sso_account_id = 123\nsso_role_name = r\n";
  cache_path = "/home/u/.aws/sso/cache/a51746d4aa793ae07b25e90c3a5db96fc7832bd7.json";
  keep_token("TOKEN", "2001-09-09T01:50:00UTC");
  around.server.then(role_credentials());
  EXPECT_EQ(found()->access_key, "SSO") << "it cannot be renewed, but has not ended";
  EXPECT_EQ(sent_token(0), "TOKEN");
}

TEST_F(SingleSignOnTest, PartitionsAndConfiguredEndpointsAreElsewhere) {
  around.files[config_path] =
      kProfile + "[sso-session corp]\nsso_start_url = https://x\nsso_region = cn-north-1\n";
  keep_token("TOKEN", "2001-09-09T02:46:40Z");
  expect_failure(ETIMEDOUT, {"GetRoleCredentials"});
  EXPECT_TRUE(around.urls.at(0).starts_with("https://portal.sso.cn-north-1.amazonaws.com.cn/"))
      << around.urls.at(0);
  around.variables["AWS_ENDPOINT_URL_SSO"] = around.server.url() + "/base";
  around.server.then(role_credentials());
  EXPECT_TRUE(found());
  EXPECT_TRUE(around.server.requests().at(0).line.starts_with("GET /base/federation/"));
}

TEST_F(SingleSignOnTest, ATokenNearItsEndIsRenewedAndKept) {
  for (const char* end : {"2001-09-09T02:01:40Z", "2001-09-09T01:00:00Z"}) {
    keep_token("OLD", end);
    around.server.then(new_token(R"(,"refreshToken":"next")"));
    around.server.then(role_credentials());
    EXPECT_TRUE(found()) << end;
  }
  const auto seen = around.server.requests();
  EXPECT_EQ(seen.at(0).line, "POST /token HTTP/1.1");
  EXPECT_EQ(seen.at(0).header("host"), "oidc.eu-west-1.amazonaws.com");
  EXPECT_EQ(seen.at(0).header("content-type"), "application/json");
  EXPECT_EQ(seen.at(0).body,
            R"({"clientId":"id","clientSecret":"hunter2-client","grantType":"refresh_token",)"
            R"("refreshToken":"hunter2-refresh"})");
  EXPECT_EQ(sent_token(1), "NEW");
  EXPECT_EQ(around.files[cache_path],
            R"({"accessToken":"NEW","clientId":"id","clientSecret":"hunter2-client",)"
            R"("expiresAt":"2001-09-09T02:46:40Z","refreshToken":"next","region":"eu-west-1",)"
            R"("registrationExpiresAt":"2001-12-01T00:00:00Z","scopes":["a"],)"
            R"("startUrl":"https://corp.awsapps.com/start"})");
}

// The clock counts nanoseconds, and its count must not go round.
TEST_F(SingleSignOnTest, WhatLastsForeverLastsLong) {
  keep_token("OLD", "2001-09-09T01:50:00Z");
  around.server.then(
      answer(200, R"({"accessToken":"NEW","expiresIn":9223372036854775807,"refreshToken":"r"})"));
  around.server.then(answer(200, R"({"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"s",)"
                                 R"("sessionToken":"t","expiration":9223372036854775807}})"));
  const auto credentials = found();
  ASSERT_TRUE(credentials.has_value());
  EXPECT_GT(*credentials->expires, around.now + std::chrono::hours(24 * 365));
  EXPECT_EQ(sent_token(1), "NEW");
  around.server.then(role_credentials());
  found();
  EXPECT_EQ(sent_token(2), "NEW") << "it is not near its end";
}

// What stands in the file of profiles may be in any encoding; the renewed token is not lost for it.
TEST_F(SingleSignOnTest, ARenewedTokenIsKeptWhateverTheStartUrlIs) {
  around.files[config_path] =
      kProfile + "[sso-session corp]\nsso_start_url = https://\xff\nsso_region = eu-west-1\n";
  keep_token("OLD", "2001-09-09T01:50:00Z");
  around.server.then(new_token(R"(,"refreshToken":"hunter2-next")"));
  around.server.then(role_credentials());
  EXPECT_EQ(found()->access_key, "SSO");
  EXPECT_NE(around.files[cache_path].find("hunter2-next"), std::string::npos);
}

TEST_F(SingleSignOnTest, WhereItCannotBeKeptNothingIsRenewed) {
  LogOfErrors log;
  around.can_replace_files = false;
  keep_token("OLD", "2001-09-09T01:50:00Z");
  around.server.then(role_credentials());
  EXPECT_TRUE(found()) << "it has not ended";
  EXPECT_EQ(sent_token(0), "OLD");
  EXPECT_EQ(log.count({"expires soon", "aws sso login --profile p"}), 1U);
  keep_token("OLD", "2001-09-09T01:00:00Z");
  expect_failure(EACCES, {"expired", cache_path, "aws sso login --profile p"});
  EXPECT_EQ(around.server.requests().size(), 1U);
}

TEST_F(SingleSignOnTest, WhatSomebodyElseHasRenewedIsUsed) {
  keep_token("OLD", "2001-09-09T01:00:00Z");
  around.server.then(
      answer(400, R"({"error":"invalid_grant","error_description":"used"})").when_asked([&] {
        keep_token("CLI", "2001-09-09T02:46:40Z");
      }));
  around.server.then(role_credentials());
  EXPECT_TRUE(found());
  EXPECT_EQ(sent_token(1), "CLI");
}

// The other one has been given the new token, and has not written it down yet.
TEST_F(SingleSignOnTest, OfTwoWhoRenewAtOnceTheRefusedOneWaitsForTheOther) {
  keep_token("OLD", "2001-09-09T01:00:00Z");
  around.server.then(answer(400, R"({"error":"invalid_grant","error_description":"used"})"));
  around.server.then(role_credentials());
  unsigned looks = 0;
  around.on_read = [&](const std::string& path) {
    if (path == cache_path && ++looks == 5) keep_token("OTHER", "2001-09-09T02:46:40Z");
  };
  EXPECT_TRUE(found());
  EXPECT_EQ(sent_token(1), "OTHER");
}

TEST_F(SingleSignOnTest, ATokenThatStillHoldsIsNotWaitedFor) {
  keep_token("OLD", "2001-09-09T01:50:00Z");
  around.server.then(answer(400, R"({"error":"invalid_grant","error_description":"used"})"));
  around.server.then(role_credentials());
  unsigned looks = 0;
  around.on_read = [&](const std::string& path) { looks += path == cache_path ? 1 : 0; };
  EXPECT_TRUE(found());
  EXPECT_EQ(sent_token(1), "OLD");
  EXPECT_EQ(looks, 2U);
}

TEST_F(SingleSignOnTest, ARefusedRenewalIsQuotedOnceTheTokenHasEnded) {
  const auto refusal = [] {
    return answer(400, R"({"error":"invalid_grant","error_description":"no more"})");
  };
  LogOfErrors log;
  keep_token("OLD", "2001-09-09T01:50:00Z");
  around.server.then(refusal());
  around.server.then(role_credentials());
  EXPECT_TRUE(found());
  EXPECT_EQ(sent_token(1), "OLD");
  keep_token("OLD", "2001-09-09T01:46:40Z");
  around.server.then(refusal());
  expect_failure(EACCES, {"expired", "invalid_grant: no more", "aws sso login --profile p"});
  around.server.then(answer(200, R"({"accessToken":"x"})"));
  expect_failure(EACCES, {"CreateToken", "no token"});
}

TEST_F(SingleSignOnTest, ATokenThatCannotBeRenewedEnds) {
  keep_token("OLD", "2001-09-09T01:00:00Z", "2001-09-09T01:46:40Z");
  expect_failure(EACCES, {"expired", "aws sso login --profile p"});
  around.files[cache_path] = R"({"accessToken":"hunter2","expiresAt":"2001-09-09T01:00:00Z"})";
  expect_failure(EACCES, {"expired"});
  EXPECT_TRUE(around.urls.empty());
}

TEST_F(SingleSignOnTest, WithoutATokenTheWayToOneIsSaid) {
  expect_failure(EACCES, {cache_path, "aws sso login --profile p"});
  for (const char* text :
       {"", "hunter2", "[]", "{}", R"({"accessToken":"hunter2"})",
        R"({"accessToken":"","expiresAt":"2001-09-09T02:46:40Z"})",
        R"({"accessToken":"hunter2\r\nx: y","expiresAt":"2001-09-09T02:46:40Z"})",
        R"({"accessToken":"hunter2","expiresAt":"tomorrow"})"}) {
    around.files[cache_path] = text;
    expect_failure(EACCES, {cache_path, "holds no token", "aws sso login --profile p"});
  }
}

TEST_F(SingleSignOnTest, RefusalsOfThePortalAreQuoted) {
  keep_token("hunter2", "2001-09-09T02:46:40Z");
  around.server.then(answer(401, R"({"message":"Session token not found or invalid"})",
                            {{"x-amzn-errortype", "UnauthorizedException"}}));
  expect_failure(EACCES, {"401", "UnauthorizedException: Session token not found",
                          "aws sso login --profile p"});
  around.server.then(answer(403, R"({"message":"No access"})"));
  expect_failure(EACCES, {"my role", "123", "403: No access"});
  for (const char* text : {"hunter2", "[]", "{}", R"({"roleCredentials":{"accessKeyId":"x"}})"}) {
    around.server.then(answer(200, text));
    expect_failure(EACCES, {"no credentials"});
  }
  around.server.then(answer(429));
  around.server.then(role_credentials());
  EXPECT_TRUE(found()) << "it is asked again";
}

TEST_F(SingleSignOnTest, WhatIsMissingOrContradictsItselfIsNamed) {
  around.files[config_path] = "[profile p]\nregion = x\n";
  EXPECT_FALSE(found());
  around.files[config_path] = kProfile;
  expect_failure(EINVAL, {"[sso-session corp]", config_path});
  around.files[config_path] = "[profile p]\nsso_account_id = 1\nsso_start_url = https://x\n";
  expect_failure(EINVAL, {"sso_region and sso_role_name"});
  around.files[config_path] = kProfile + "sso_region = eu-west-2\n" + kSession;
  expect_failure(EINVAL, {"sso_region", "[sso-session corp]"});
}

TEST_F(SingleSignOnTest, WhatIsRefusedIsToldWithTheIdOfTheRequest) {
  const testing::AnswerHeaders headers{{"x-amzn-RequestId", "c6104cbe"}};
  keep_token("TOKEN", "2001-09-10T00:00:00Z");
  around.server.then(answer(403, R"({"message":"No access"})", headers));
  expect_failure(EACCES, {" (x-amzn-requestid: c6104cbe)"});
  around.server.then(answer(200, "{}", headers));
  expect_failure(EACCES, {"holds no credentials (x-amzn-requestid: c6104cbe)"});
  keep_token("OLD", "2001-09-08T00:00:00Z");
  around.server.then(answer(400, R"({"error":"invalid_grant"})", headers));
  expect_failure(EACCES, {" (x-amzn-requestid: c6104cbe)"});
  around.server.then(answer(200, "{}", headers));
  expect_failure(EACCES, {"holds no token (x-amzn-requestid: c6104cbe)"});
}

}  // namespace
}  // namespace nbdstack
