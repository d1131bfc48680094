#include "plugins/s3/aws/credential_chain.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

using testing::answer;

class CredentialChainTest : public ::testing::Test {
 protected:
  Identity find() { return find_identity(parameters, around.get()); }
  std::string key() { return find().credentials.access_key; }

  Error failure() {
    try {
      return {EIO, "found in " + find().source};
    } catch (const Error& error) {
      return error;
    }
  }

  // Everything that can give credentials, in the order of the chain, is there.
  void set_everything() {
    parameters.access_key = parameters.secret_key = "PARAMETER";
    set_environment();
    around.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/token";
    around.variables["AWS_ROLE_ARN"] = "arn:web";
    around.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/c";
    around.files["/token"] = "webtoken";
    around.files["/home/u/.aws/credentials"] =
        "[default]\naws_access_key_id = FILE\naws_secret_access_key = f\n";
    around.files["/home/u/.aws/config"] =
        "[default]\nrole_arn = arn:role\nsource_profile = default\n";
    around.listen_at("https://sts.us-east-1.amazonaws.com");
    around.listen_at("http://169.254.170.2");
    around.listen_at("http://169.254.169.254");
  }
  void set_environment() {
    around.variables["AWS_ACCESS_KEY_ID"] = "ENVIRONMENT";
    around.variables["AWS_SECRET_ACCESS_KEY"] = "e";
  }

  CredentialParameters parameters;
  testing::FakeEnvironment around;
  std::map<std::string, std::string>& environment = around.variables;
  std::map<std::string, std::string>& files = around.files;
};

constexpr const char* kTwoProfiles =
    "# comment\n"
    "[default]\n"
    "aws_access_key_id = DEFAULTKEY\n"
    "aws_secret_access_key=default/secret==\n"
    "\n"
    "[ other ]\r\n"
    "aws_access_key_id = OTHERKEY\r\n"
    "aws_secret_access_key = other\r\n"
    "aws_session_token = token\r\n";

TEST_F(CredentialChainTest, TheOrderIsThatOfTheAwsCli) {
  set_everything();
  EXPECT_EQ(key(), "PARAMETER");
  parameters = {};
  EXPECT_EQ(key(), "ENVIRONMENT");
  environment.erase("AWS_ACCESS_KEY_ID");
  environment.erase("AWS_SECRET_ACCESS_KEY");
  around.server.then(answer(200, testing::sts_document("AssumeRole", "ROLE")));
  EXPECT_EQ(key(), "ROLE");
  files.erase("/home/u/.aws/config");
  around.server.then(answer(200, testing::sts_document("AssumeRoleWithWebIdentity", "WEB")));
  EXPECT_EQ(key(), "WEB");
  environment.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  EXPECT_EQ(key(), "FILE");
  files.clear();
  around.server.then(answer(200, testing::metadata_document("CONTAINER")));
  EXPECT_EQ(key(), "CONTAINER");
  environment.erase("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  around.server.then(answer(200, "imdstoken"));
  around.server.then(answer(200, "role"));
  around.server.then(answer(200, testing::metadata_document("INSTANCE")));
  const Identity last = find();
  EXPECT_EQ(last.credentials.access_key, "INSTANCE");
  EXPECT_EQ(last.origin, CredentialOrigin::instance);
  EXPECT_EQ(last.source, "the EC2 metadata service");
}

TEST_F(CredentialChainTest, ProfileThatIsAskedForByNameWinsOverTheEnvironment) {
  set_everything();
  parameters = {};
  parameters.profile = "default";
  files.erase("/home/u/.aws/config");
  EXPECT_EQ(key(), "FILE") << "neither the keys nor the web identity of the environment";
}

TEST_F(CredentialChainTest, ProfileOfTheEnvironmentDoesNotWinOverItsKeys) {
  set_environment();
  environment["AWS_PROFILE"] = "typo";
  EXPECT_EQ(key(), "ENVIRONMENT");
}

TEST_F(CredentialChainTest, SecretOfAnotherSourceIsNotMixedIn) {
  parameters.access_key = "P";
  environment["AWS_SECRET_ACCESS_KEY"] = "e";
  EXPECT_EQ(failure().code(), EINVAL);
  parameters.access_key = "";
  EXPECT_EQ(failure().code(), EINVAL);
}

TEST_F(CredentialChainTest, AnonymousLooksForNothing) {
  set_everything();
  parameters = {};
  parameters.anonymous = true;
  EXPECT_TRUE(find().credentials.is_anonymous());
  EXPECT_TRUE(around.urls.empty());
  parameters.secret_key = "x";
  EXPECT_EQ(failure().code(), EINVAL);
}

TEST_F(CredentialChainTest, DefaultProfileIsReadWhole) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  const Identity identity = find();
  EXPECT_EQ(identity.credentials.access_key, "DEFAULTKEY");
  EXPECT_EQ(identity.credentials.secret_key, "default/secret==");
  EXPECT_EQ(identity.credentials.session_token, "");
  EXPECT_EQ(identity.source, "profile \"default\"");
}

TEST_F(CredentialChainTest, LinesWithCarriageReturnsDoNotSpoilKeys) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  environment["AWS_PROFILE"] = "other";
  EXPECT_EQ(find().credentials.secret_key, "other");
  EXPECT_EQ(find().credentials.session_token, "token");
}

TEST_F(CredentialChainTest, RegionComesFromTheFirstThatNamesOne) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  EXPECT_EQ(find().region, "us-east-1");
  files["/home/u/.aws/config"] = "[default]\nregion = of-profile\n";
  EXPECT_EQ(find().region, "of-profile");
  environment["AWS_DEFAULT_REGION"] = "of-default";
  EXPECT_EQ(find().region, "of-default");
  environment["AWS_REGION"] = "of-environment";
  EXPECT_EQ(find().region, "of-environment");
  parameters.region = "of-parameter";
  EXPECT_EQ(find().region, "of-parameter");
}

TEST_F(CredentialChainTest, NothingFoundSaysWhereWasLooked) {
  const Error error = failure();
  EXPECT_EQ(error.code(), EACCES);
  for (const char* place :
       {"access-key", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "\"default\"",
        "/home/u/.aws/credentials", "/home/u/.aws/config", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "EC2 metadata service (nobody is there)", "anonymous"}) {
    EXPECT_NE(std::string(error.what()).find(place), std::string::npos) << place << error.what();
  }
}

TEST_F(CredentialChainTest, ProfileThatDoesNotExistIsNamed) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  environment["AWS_PROFILE"] = "typo";
  EXPECT_EQ(failure().code(), EINVAL);
  EXPECT_NE(std::string(failure().what()).find("\"typo\""), std::string::npos);
  EXPECT_TRUE(around.urls.empty()) << "and nobody else is asked";
}

TEST_F(CredentialChainTest, WebIdentityNeedsARole) {
  environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/token";
  const Error error = failure();
  EXPECT_EQ(error.code(), EINVAL);
  EXPECT_NE(std::string(error.what()).find("AWS_ROLE_ARN"), std::string::npos);
}

TEST_F(CredentialChainTest, EnvironmentAndProfileCanEachSayAPartOfAWebIdentity) {
  environment["AWS_ENDPOINT_URL_STS"] = around.server.url();
  files["/token"] = "webtoken";
  const auto expect_request = [&](const char* part) {
    around.server.then(answer(200, testing::sts_document("AssumeRoleWithWebIdentity", "WEB")));
    EXPECT_EQ(key(), "WEB");
    const std::string body = around.server.requests().back().body;
    EXPECT_NE(body.find(part), std::string::npos) << body;
  };
  files["/home/u/.aws/config"] =
      "[default]\nrole_arn = profiles\nweb_identity_token_file = /token\n";
  expect_request("RoleArn=profiles");
  environment["AWS_ROLE_ARN"] = "environments";
  expect_request("RoleArn=environments");
  environment.erase("AWS_ROLE_ARN");
  environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/other";
  files["/other"] = "othertoken";
  expect_request("WebIdentityToken=othertoken");
  parameters.profile = "default";
  expect_request("WebIdentityToken=webtoken");
}

TEST_F(CredentialChainTest, TheOldNameOfTheTokenComesFirstAsForBoto3) {
  set_environment();
  environment["AWS_SESSION_TOKEN"] = "new";
  EXPECT_EQ(find().credentials.session_token, "new");
  environment["AWS_SECURITY_TOKEN"] = "old";
  EXPECT_EQ(find().credentials.session_token, "old");
}

TEST_F(CredentialChainTest, ServicesThatGiveCredentialsAreTrustedByTheCaFile) {
  files["/home/u/.aws/config"] =
      "[default]\nca_bundle = /ca\nrole_arn = arn:x\nsource_profile = default\n"
      "aws_access_key_id = FILE\naws_secret_access_key = f\n";
  around.listen_at("https://sts.us-east-1.amazonaws.com");
  around.server.then(answer(200, testing::sts_document("AssumeRole", "ROLE")));
  EXPECT_EQ(key(), "ROLE");
  EXPECT_EQ(around.options.back().ca_file, "/ca");
  EXPECT_FALSE(around.options.back().is_direct);
}

TEST_F(CredentialChainTest, ASourceThatIsThereAndFailsEndsTheSearch) {
  environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/c";
  around.listen_at("http://169.254.170.2");
  around.server.then(answer(403));
  const Error error = failure();
  EXPECT_EQ(error.code(), EACCES);
  EXPECT_EQ(around.urls.size(), 1U);
}

TEST_F(CredentialChainTest, HalfAKeyPairInAFileNamesTheFileAndNoSecret) {
  files["/home/u/.aws/credentials"] = "[default]\naws_secret_access_key = hunter2\n";
  const std::string message = failure().what();
  EXPECT_NE(message.find("/home/u/.aws/credentials"), std::string::npos);
  EXPECT_EQ(message.find("hunter2"), std::string::npos);
}

TEST_F(CredentialChainTest, FoundAgainOnlyWhereItWasFound) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  EXPECT_EQ(find().origin, CredentialOrigin::profile);
  files["/home/u/.aws/credentials"] =
      "[default]\naws_access_key_id = ROTATED\naws_secret_access_key = r\n";
  set_environment();
  EXPECT_EQ(find_again(parameters, around.get(), CredentialOrigin::profile).access_key, "ROTATED");
  files.clear();
  EXPECT_THROW(find_again(parameters, around.get(), CredentialOrigin::profile), Error);
  EXPECT_THROW(find_again(parameters, around.get(), CredentialOrigin::instance), Error);
}

TEST_F(CredentialChainTest, TheDefaultProfileOfTheEnvironmentComesFirstAsForBoto3) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  environment["AWS_DEFAULT_PROFILE"] = "other";
  EXPECT_EQ(find().credentials.secret_key, "other");
  environment["AWS_PROFILE"] = "default";
  EXPECT_EQ(find().credentials.secret_key, "other");
}

TEST_F(CredentialChainTest, WhatAProfileSaysOfTheServiceIsFoundWithItsKeys) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  files["/home/u/.aws/config"] =
      "[default]\nservices = mine\nca_bundle = ~/ca.pem\n"
      "[services mine]\ns3 =\n  endpoint_url = https://s3.mine\n";
  EXPECT_EQ(find().endpoint.url, "https://s3.mine");
  EXPECT_EQ(find().ca_file, "/home/u/ca.pem");
  environment["AWS_ENDPOINT_URL"] = "https://all";
  EXPECT_EQ(find().endpoint.url, "https://all");
  environment["AWS_ENDPOINT_URL_S3"] = "https://s3.environment";
  EXPECT_EQ(find().endpoint.url, "https://s3.environment");
  environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true";
  EXPECT_EQ(find().endpoint.url, "");
  environment["AWS_CA_BUNDLE"] = "/ca.environment";
  EXPECT_EQ(find().ca_file, "/ca.environment");
  environment.erase("AWS_CA_BUNDLE");
  parameters.profile = "other";
  EXPECT_EQ(find().ca_file, "");
}

TEST_F(CredentialChainTest, OtherEndpointsOfAwsAreUsedWhereTheyAreAskedFor) {
  set_environment();
  environment["AWS_REGION"] = "us-gov-west-1";
  EXPECT_EQ(find().endpoint.url, "");
  environment["AWS_USE_FIPS_ENDPOINT"] = "True";
  EXPECT_EQ(find().endpoint.url, "https://s3-fips.us-gov-west-1.amazonaws.com");
  environment["AWS_USE_DUALSTACK_ENDPOINT"] = "true";
  EXPECT_EQ(find().endpoint.url, "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com");
  environment["AWS_ENDPOINT_URL"] = "https://mine";
  EXPECT_EQ(find().endpoint.url, "https://mine");
  environment.clear();
  set_environment();
  environment["HOME"] = "/home/u";
  files["/home/u/.aws/config"] =
      "[default]\nregion = cn-north-1\ns3 =\n  use_dualstack_endpoint = true\n"
      "  addressing_style = virtual\n";
  EXPECT_EQ(find().endpoint.url, "https://s3.dualstack.cn-north-1.amazonaws.com.cn");
  EXPECT_TRUE(find().virtual_host);
  files["/home/u/.aws/config"] = "[default]\ns3 =\n  addressing_style = path\n";
  EXPECT_FALSE(find().virtual_host);
}

TEST_F(CredentialChainTest, FilesThatCannotBeOpenedAreNoErrorWhereTheyAreNotNeeded) {
  around.can_open_files = false;
  environment["AWS_PROFILE"] = "work";
  set_environment();
  EXPECT_EQ(key(), "ENVIRONMENT");
  parameters.anonymous = true;
  EXPECT_TRUE(find().credentials.is_anonymous());
  parameters.anonymous = false;
  environment.erase("AWS_ACCESS_KEY_ID");
  environment.erase("AWS_SECRET_ACCESS_KEY");
  const Error needed = failure();
  EXPECT_EQ(needed.code(), EACCES);
  EXPECT_NE(std::string(needed.what()).find("/home/u/.aws/credentials"), std::string::npos);
  environment.erase("AWS_PROFILE");
  EXPECT_NE(std::string(failure().what()).find("Permission denied"), std::string::npos)
      << failure().what();
}

}  // namespace
}  // namespace nbdstack
