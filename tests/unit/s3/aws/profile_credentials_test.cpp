#include "plugins/s3/aws/profile_credentials.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

using testing::answer;
using testing::sts_document;

class ProfileCredentialsTest : public ::testing::Test {
 protected:
  ProfileCredentialsTest() { around.variables["AWS_ENDPOINT_URL_STS"] = around.server.url(); }

  // The access key that profile "p" of this config file gives; empty for none.
  std::string key_of(const std::string& config_text) {
    around.files["/home/u/.aws/config"] = config_text;
    const AwsSettings settings(around.get(), {});
    ProfileCredentials credentials(settings);
    auto found = credentials.of_role(*settings.config().find("p"));
    if (!found) found = credentials.of_others(*settings.config().find("p"));
    return found ? found->access_key : std::string();
  }
  std::string failure_of(const std::string& config_text) {
    try {
      return "found " + key_of(config_text);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == EINVAL || error.code() == EACCES) << error.code();
      return error.what();
    }
  }
  void expect_failure(const std::string& config_text, const std::vector<std::string>& parts) {
    const std::string message = failure_of(config_text);
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
    }
  }
  void will_assume(const std::string& key) {
    around.server.then(answer(200, sts_document("AssumeRole", key)));
  }
  // Whose credentials the n-th request was signed with.
  std::string signer(std::size_t number) {
    const std::string value = around.server.requests().at(number).header("authorization");
    const std::size_t begin = value.find("Credential=") + std::string("Credential=").size();
    return value.substr(begin, value.find('/') - begin);
  }

  testing::FakeEnvironment around;
};

const std::string kKeys = "aws_access_key_id = FILE\naws_secret_access_key = s\n";

TEST_F(ProfileCredentialsTest, ARoleIsAssumedWithTheKeysOfItsSource) {
  will_assume("ROLE");
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nsource_profile = base\nexternal_id = e\n"
                   "role_session_name = n\nduration_seconds = 1800\n[profile base]\n" +
                   kKeys),
            "ROLE");
  EXPECT_EQ(signer(0), "FILE");
  for (const char* part : {"ExternalId=e", "RoleSessionName=n", "DurationSeconds=1800"}) {
    EXPECT_NE(around.server.requests().at(0).body.find(part), std::string::npos) << part;
  }
}

TEST_F(ProfileCredentialsTest, RolesCanBeChained) {
  will_assume("FIRST");
  will_assume("SECOND");
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nsource_profile = q\n"
                   "[profile q]\nrole_arn = arn:q\nsource_profile = base\n[profile base]\n" +
                   kKeys),
            "SECOND");
  EXPECT_EQ(signer(0), "FILE");
  EXPECT_EQ(signer(1), "FIRST");
  EXPECT_NE(around.server.requests().at(0).body.find("RoleArn=arn%3Aq"), std::string::npos);
}

TEST_F(ProfileCredentialsTest, ARoleMayHaveItsKeysInItsOwnProfile) {
  will_assume("ROLE");
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nsource_profile = p\n" + kKeys), "ROLE");
  EXPECT_EQ(signer(0), "FILE");
}

TEST_F(ProfileCredentialsTest, ASourceCountsItsKeysBeforeItsRole) {
  will_assume("ROLE");
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nsource_profile = q\n"
                   "[profile q]\nrole_arn = arn:q\nsource_profile = p\n" +
                   kKeys),
            "ROLE");
  EXPECT_EQ(signer(0), "FILE");
}

TEST_F(ProfileCredentialsTest, CirclesAreNamed) {
  expect_failure(
      "[profile p]\nrole_arn = arn:p\nsource_profile = q\n"
      "[profile q]\nrole_arn = arn:q\nsource_profile = p\n",
      {"circle", "p -> q -> p"});
  expect_failure("[profile p]\nrole_arn = arn:p\nsource_profile = p\n", {"circle", "p -> p"});
  EXPECT_TRUE(around.urls.empty());
}

TEST_F(ProfileCredentialsTest, ARoleCanUseTheEnvironment) {
  const std::string text = "[profile p]\nrole_arn = arn:p\ncredential_source = Environment\n";
  expect_failure(text, {"\"p\"", "Environment", "AWS_ACCESS_KEY_ID"});
  around.variables["AWS_ACCESS_KEY_ID"] = "ENVIRONMENT";
  around.variables["AWS_SECRET_ACCESS_KEY"] = "s";
  will_assume("ROLE");
  EXPECT_EQ(key_of(text), "ROLE");
  EXPECT_EQ(signer(0), "ENVIRONMENT");
}

TEST_F(ProfileCredentialsTest, ARoleCanUseTheContainer) {
  const std::string text = "[profile p]\nrole_arn = arn:p\ncredential_source = EcsContainer\n";
  expect_failure(text, {"EcsContainer", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"});
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = around.server.url();
  around.server.then(answer(200, testing::metadata_document("CONTAINER")));
  will_assume("ROLE");
  EXPECT_EQ(key_of(text), "ROLE");
  EXPECT_EQ(signer(1), "CONTAINER");
}

TEST_F(ProfileCredentialsTest, ARoleCanUseTheInstance) {
  const std::string text =
      "[profile p]\nrole_arn = arn:p\ncredential_source = Ec2InstanceMetadata\n";
  expect_failure(text, {"Ec2InstanceMetadata", "nobody is there"});
  around.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = around.server.url();
  around.server.then(answer(200, "imdstoken"));
  around.server.then(answer(200, "role"));
  around.server.then(answer(200, testing::metadata_document("INSTANCE")));
  will_assume("ROLE");
  EXPECT_EQ(key_of(text), "ROLE");
  EXPECT_EQ(signer(3), "INSTANCE");
}

TEST_F(ProfileCredentialsTest, WebIdentityCanBeAProfiles) {
  around.files["/home/u/token"] = "webtoken";
  around.server.then(answer(200, sts_document("AssumeRoleWithWebIdentity", "WEB")));
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nweb_identity_token_file = ~/token\n"), "WEB");
  expect_failure("[profile p]\nweb_identity_token_file = /token\n",
                 {"web_identity_token_file", "role_arn"});
}

TEST_F(ProfileCredentialsTest, AProcessCountsAfterKeysInCredentialsAndBeforeThoseInConfig) {
  around.programs["tool"] = {
      .exit_code = 0,
      .output = R"({"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"s"})",
      .errors = {}};
  const std::string text = "[profile p]\ncredential_process = tool\n" + kKeys;
  EXPECT_EQ(key_of(text), "PROCESS");
  around.files["/home/u/.aws/credentials"] =
      "[p]\naws_access_key_id = OTHER\naws_secret_access_key = o\n";
  EXPECT_EQ(key_of(text), "OTHER");
}

TEST_F(ProfileCredentialsTest, AProcessCanBeTheSourceOfARole) {
  around.programs["tool"] = {
      .exit_code = 0,
      .output = R"({"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"s"})",
      .errors = {}};
  will_assume("ROLE");
  EXPECT_EQ(key_of("[profile p]\nrole_arn = arn:p\nsource_profile = q\n"
                   "[profile q]\ncredential_process = tool\n"),
            "ROLE");
  EXPECT_EQ(signer(0), "PROCESS");
}

TEST_F(ProfileCredentialsTest, WhatCannotBeIsRefusedByName) {
  const std::string role = "[profile p]\nrole_arn = arn:p\n";
  expect_failure(role, {"\"p\"", "source_profile", "credential_source"});
  expect_failure(role + "source_profile = p\ncredential_source = Environment\n",
                 {"\"p\"", "source_profile", "credential_source"});
  expect_failure(role + "credential_source = Moon\n", {"\"p\"", "Moon", "Ec2InstanceMetadata"});
  expect_failure(role + "source_profile = typo\n", {"\"p\"", "\"typo\"", "/home/u/.aws/config"});
  expect_failure(role + "source_profile = q\n[profile q]\nregion = x\n", {"\"q\"", "\"p\""});
  expect_failure(role + "source_profile = p\nmfa_serial = arn:mfa\n" + kKeys,
                 {"\"p\"", "mfa_serial", "credential_process"});
  for (const char* duration : {"12", "x", "900s", "43201"}) {
    expect_failure(
        fmt::format("{}source_profile = p\n{}duration_seconds = {}\n", role, kKeys, duration),
        {"\"p\"", "duration_seconds", duration});
  }
  EXPECT_TRUE(around.urls.empty());
}

TEST_F(ProfileCredentialsTest, OtherWaysToSignInAreRefusedWithTheWayOut) {
  for (const char* setting : {"sso_session = s", "sso_start_url = https://x"}) {
    const std::string text = std::string("[profile p]\n") + setting + "\n";
    expect_failure(text, {"sso_account_id", "sso_role_name"});
    EXPECT_EQ(key_of(text + kKeys), "FILE");
  }
  expect_failure("[profile p]\nlogin_session = l\n",
                 {"aws configure export-credentials --profile p", "credential_process"});
}

TEST_F(ProfileCredentialsTest, AProfileMayHaveNoCredentials) {
  EXPECT_EQ(key_of("[profile p]\nregion = x\n"), "");
}

}  // namespace
}  // namespace nbdstack
