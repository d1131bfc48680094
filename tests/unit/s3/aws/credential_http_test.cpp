#include "plugins/s3/aws/credential_http.hpp"

#include <gtest/gtest.h>

#include "common/utc_text.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::hang_up;
using testing::metadata_document;

class CredentialHttpTest : public ::testing::Test {
 protected:
  std::optional<Credentials> of_container() {
    return credentials_of_container(AwsSettings(around.get(), {}));
  }
  std::optional<Credentials> of_instance() {
    why_not.clear();
    return credentials_of_instance(AwsSettings(around.get(), {}), why_not);
  }
  std::string failure_of_container() {
    try {
      of_container();
    } catch (const Error& error) {
      return error.what();
    }
    return "no failure";
  }
  std::string failure_of_instance() {
    try {
      of_instance();
    } catch (const Error& error) {
      return error.what();
    }
    return "no failure";
  }
  // A metadata service of version 2 with a role.
  void script_instance(const std::string& document) {
    around.listen_at("http://169.254.169.254");
    around.server.then(answer(200, "imdstoken"));
    around.server.then(answer(200, "my role\nanother"));
    around.server.then(answer(200, document));
  }

  testing::FakeEnvironment around;
  std::string why_not;
};

TEST_F(CredentialHttpTest, NoVariableIsNoContainer) {
  EXPECT_FALSE(of_container());
  EXPECT_TRUE(around.urls.empty());
}

TEST_F(CredentialHttpTest, ContainerIsAskedAtItsFixedAddress) {
  around.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/id";
  around.listen_at("http://169.254.170.2");
  around.server.then(answer(200, metadata_document("KEY")));
  const auto found = of_container();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->access_key, "KEY");
  EXPECT_EQ(found->secret_key, "metasecret");
  EXPECT_EQ(found->session_token, "metatoken");
  EXPECT_EQ(found->expires, around.now + std::chrono::hours(6));
  EXPECT_EQ(around.server.requests().at(0).line, "GET /v2/credentials/id HTTP/1.1");
  EXPECT_EQ(around.server.requests().at(0).header("authorization"), "");
}

TEST_F(CredentialHttpTest, ContainerSeesTheTokenOfTheFileAsItIsNow) {
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url() + "/creds?a=b";
  around.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "of-variable";
  around.server.then(answer(200, metadata_document("KEY")));
  EXPECT_TRUE(of_container());
  EXPECT_EQ(around.server.requests().at(0).header("authorization"), "of-variable");
  around.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/token";
  for (const char* token : {"first\n", "second"}) {
    around.files["/token"] = token;
    around.server.then(answer(200, metadata_document("KEY")));
    EXPECT_TRUE(of_container());
  }
  EXPECT_EQ(around.server.requests().at(1).header("authorization"), "first");
  EXPECT_EQ(around.server.requests().at(2).header("authorization"), "second");
  EXPECT_EQ(around.server.requests().at(2).line, "GET /creds?a=b HTTP/1.1");
}

TEST_F(CredentialHttpTest, ContainerTokenThatCannotBeSentIsNamedNotSaid) {
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url();
  around.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/token";
  EXPECT_NE(failure_of_container().find("/token"), std::string::npos);
  around.files["/token"] = "hunter2\r\nx: y";
  EXPECT_NE(failure_of_container().find("/token"), std::string::npos);
  EXPECT_EQ(failure_of_container().find("hunter2"), std::string::npos);
}

TEST_F(CredentialHttpTest, ContainerIsTrustedOnlyWhereNobodyCanListen) {
  for (const char* url :
       {"http://example.com/", "http://127.0.0.1@example.com/", "http://169.254.170.3/",
        "http://127.0.0.1.example.com/", "http://[fd00:ec2::24]/", "ftp://127.0.0.1/", "file:///x",
        "http://localhost.example.com/", "nonsense", "http://user@127.0.0.1/"}) {
    around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url;
    EXPECT_NE(failure_of_container().find("not to be trusted"), std::string::npos) << url;
  }
  EXPECT_TRUE(around.urls.empty());
  for (const char* origin :
       {"http://localhost", "http://127.8.9.1:80", "http://[::1]", "http://169.254.170.2",
        "http://169.254.170.23", "http://[fd00:ec2::23]", "https://example.com"}) {
    around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = origin + std::string("/c");
    around.listen_at(origin);
    around.server.then(answer(200, metadata_document("KEY")));
    EXPECT_TRUE(of_container()) << origin;
  }
}

TEST_F(CredentialHttpTest, ContainerThatFailsForAMomentIsAskedAgain) {
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url();
  around.server.then(answer(503));
  around.server.then(hang_up());
  around.server.then(answer(200, metadata_document("KEY")));
  EXPECT_TRUE(of_container());
}

TEST_F(CredentialHttpTest, RefusalOfTheContainerIsQuoted) {
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url();
  around.server.then(answer(400, R"({"code":"Denied","message":"no such task"})"));
  const std::string message = failure_of_container();
  EXPECT_NE(message.find("400: Denied: no such task"), std::string::npos) << message;
}

TEST_F(CredentialHttpTest, InstanceIsAskedByVersionTwo) {
  script_instance(metadata_document("KEY"));
  EXPECT_EQ(of_instance()->access_key, "KEY");
  const auto seen = around.server.requests();
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].line, "PUT /latest/api/token HTTP/1.1");
  EXPECT_EQ(seen[0].header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
  EXPECT_EQ(seen[1].line, "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1");
  EXPECT_EQ(seen[1].header("x-aws-ec2-metadata-token"), "imdstoken");
  EXPECT_EQ(seen[2].line, "GET /latest/meta-data/iam/security-credentials/my%20role HTTP/1.1");
  EXPECT_EQ(seen[2].header("x-aws-ec2-metadata-token"), "imdstoken");
}

TEST_F(CredentialHttpTest, NoMetadataServiceIsNoInstance) {
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(why_not, "nobody is there");
  EXPECT_EQ(around.urls.size(), 2U);
}

// As with boto3: the token is refused, or does not come back over the hop into a container.
TEST_F(CredentialHttpTest, VersionOneIsUsedWhereTwoGivesNoToken) {
  around.listen_at("http://169.254.169.254");
  for (const int status : {403, 404, 405}) {
    around.server.then(answer(status));
    around.server.then(answer(200, "role"));
    around.server.then(answer(200, metadata_document("KEY")));
    EXPECT_EQ(of_instance()->access_key, "KEY") << status;
    EXPECT_EQ(around.server.requests().back().header("x-aws-ec2-metadata-token"), "") << status;
  }
  around.redirected.clear();
  around.is_silent = true;
  EXPECT_NE(failure_of_instance().find("nobody is there"), std::string::npos);
  EXPECT_TRUE(around.urls.back().ends_with("/security-credentials/")) << around.urls.back();
}

TEST_F(CredentialHttpTest, VersionOneIsNotUsedWhereItIsSwitchedOffOrAnotherAnswers) {
  around.listen_at("http://169.254.169.254");
  for (const int status : {400, 503, 503}) around.server.then(answer(status));
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(why_not, "it gives no token: 400");
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(why_not, "it gives no token: 503");
  around.variables["AWS_EC2_METADATA_V1_DISABLED"] = "true";
  around.server.then(answer(405));
  EXPECT_FALSE(of_instance());
  EXPECT_NE(why_not.find("AWS_EC2_METADATA_V1_DISABLED"), std::string::npos) << why_not;
  EXPECT_EQ(around.server.requests().back().line, "PUT /latest/api/token HTTP/1.1");
  around.variables.clear();
  around.server.then(answer(404));
  around.server.then(answer(200, "<html>Welcome</html>"));
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(why_not, "this instance has no role");
}

TEST_F(CredentialHttpTest, TokenThatDoesNotReachAContainerIsExplained) {
  around.listen_at("http://169.254.169.254");
  around.server.then(answer(403));
  around.server.then(answer(401));
  EXPECT_NE(failure_of_instance().find("http-put-response-hop-limit"), std::string::npos);
}

TEST_F(CredentialHttpTest, NoneOfTheseRequestsGoesThroughAProxy) {
  script_instance(metadata_document("KEY"));
  EXPECT_TRUE(of_instance());
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url();
  around.server.then(answer(200, metadata_document("KEY")));
  EXPECT_TRUE(of_container());
  ASSERT_EQ(around.options.size(), 4U);
  for (const ExchangeOptions& each : around.options) EXPECT_TRUE(each.is_direct);
}

TEST_F(CredentialHttpTest, WaitsAndAttemptsAreThoseOfTheEnvironmentOrTheProfile) {
  around.files["/home/u/.aws/config"] =
      "[default]\nmetadata_service_timeout = 7\nmetadata_service_num_attempts = 3\n";
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(around.urls.size(), 3U);
  EXPECT_EQ(around.options.back().timeout, std::chrono::seconds(7));
  around.variables["AWS_METADATA_SERVICE_TIMEOUT"] = "2";
  around.variables["AWS_METADATA_SERVICE_NUM_ATTEMPTS"] = "1";
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(around.urls.size(), 4U);
  EXPECT_EQ(around.options.back().timeout, std::chrono::seconds(2));
  for (const char* wrong : {"0", "-1", "1s", "3601"}) {
    around.variables["AWS_METADATA_SERVICE_TIMEOUT"] = wrong;
    EXPECT_NE(failure_of_instance().find("AWS_METADATA_SERVICE_TIMEOUT"), std::string::npos);
  }
}

TEST_F(CredentialHttpTest, InstanceWithoutARoleIsNone) {
  around.listen_at("http://169.254.169.254");
  around.server.then(answer(200, "imdstoken"));
  around.server.then(answer(404));
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(why_not, "this instance has no role");
}

TEST_F(CredentialHttpTest, InstanceThatFailsIsAnError) {
  script_instance(R"({"Code":"AssumeRoleUnauthorizedAccess","Message":"not trusted"})");
  EXPECT_NE(failure_of_instance().find("AssumeRoleUnauthorizedAccess: not trusted"),
            std::string::npos);
  script_instance("<html>hunter2");
  EXPECT_EQ(failure_of_instance().find("hunter2"), std::string::npos);
  around.server.then(answer(200, "imdstoken"));
  around.server.then(answer(401));
  EXPECT_NE(failure_of_instance().find("401"), std::string::npos);
}

TEST_F(CredentialHttpTest, MetadataServiceCanBeSwitchedOffAndBeElsewhere) {
  around.variables["AWS_EC2_METADATA_DISABLED"] = "True";
  EXPECT_FALSE(of_instance());
  EXPECT_TRUE(around.urls.empty());
  around.variables["AWS_EC2_METADATA_DISABLED"] = "false";
  around.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"] = "IPv6";
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(around.urls.back(), "http://[fd00:ec2::254]/latest/api/token");
  around.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1/";
  EXPECT_FALSE(of_instance());
  EXPECT_EQ(around.urls.back(), "http://127.0.0.1:1/latest/api/token");
  around.variables.erase("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  around.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"] = "both";
  EXPECT_NE(failure_of_instance().find("neither IPv4 nor IPv6"), std::string::npos);
}

TEST(IsoTime, IsReadAsServicesAndProgramsWriteIt) {
  const auto time = std::chrono::system_clock::from_time_t(1'000'000'000);
  for (const char* text : {"2001-09-09T01:46:40Z", "2001-09-09T01:46:40", "2001-09-09T01:46:40UTC",
                           "2001-09-09T01:46:40.123Z", "2001-09-09T03:46:40+02:00",
                           "2001-09-08T20:16:40-0530", "2001-09-09T01:46:40.123456+00:00"}) {
    EXPECT_EQ(parse_iso_time(text), time) << text;
  }
  for (const char* text : {"", "tomorrow", "2001-09-09", "2001-09-09T01:46:40X",
                           "2001-09-09T01:46:40+2", "2001-09-09T01:46:40+ab:cd"}) {
    EXPECT_FALSE(parse_iso_time(text)) << text;
  }
}

TEST(IsoTime, IsWrittenAsItIsRead) {
  EXPECT_EQ(utc_text(1'000'000'000), "2001-09-09T01:46:40Z");
  EXPECT_EQ(parse_iso_time(utc_text(1'000'000'000)),
            std::chrono::system_clock::from_time_t(1'000'000'000));
}

}  // namespace
}  // namespace nbdstack
