#include "plugins/s3/credentials.hpp"

#include <gtest/gtest.h>

#include <map>

#include "common/error.hpp"

namespace nbdstack {
namespace {

class CredentialsTest : public testing::Test {
 protected:
  [[nodiscard]] Identity find() const {
    return find_identity(parameters,
                         {.environment = lookup(environment), .read_file = lookup(files)});
  }

  Error failure() const {
    try {
      return {EIO, "found in " + find().source};
    } catch (const Error& error) {
      return error;
    }
  }

  CredentialParameters parameters;
  std::map<std::string, std::string> environment{{"HOME", "/home/u"}};
  std::map<std::string, std::string> files;

 private:
  static std::function<std::optional<std::string>(const std::string&)> lookup(
      const std::map<std::string, std::string>& values) {
    return [&values](const std::string& name) -> std::optional<std::string> {
      const auto found = values.find(name);
      if (found == values.end()) return std::nullopt;
      return found->second;
    };
  }
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

TEST_F(CredentialsTest, ParametersWinOverEverything) {
  parameters = {.access_key = "P", .secret_key = "p", .session_token = "t"};
  environment["AWS_ACCESS_KEY_ID"] = "E";
  environment["AWS_SECRET_ACCESS_KEY"] = "e";
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  EXPECT_EQ(find().credentials.access_key, "P");
  EXPECT_EQ(find().credentials.secret_key, "p");
  EXPECT_EQ(find().credentials.session_token, "t");
}

TEST_F(CredentialsTest, SecretOfAnotherSourceIsNotMixedIn) {
  parameters.access_key = "P";
  environment["AWS_SECRET_ACCESS_KEY"] = "e";
  EXPECT_EQ(failure().code(), EINVAL);
  parameters.access_key = "";
  EXPECT_EQ(failure().code(), EINVAL);
}

TEST_F(CredentialsTest, EnvironmentWinsOverFiles) {
  environment["AWS_ACCESS_KEY_ID"] = "E";
  environment["AWS_SECRET_ACCESS_KEY"] = "e";
  environment["AWS_PROFILE"] = "other";
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  EXPECT_EQ(find().credentials.access_key, "E");
}

TEST_F(CredentialsTest, ProfileThatIsAskedForByNameWinsOverEnvironment) {
  environment["AWS_ACCESS_KEY_ID"] = "E";
  environment["AWS_SECRET_ACCESS_KEY"] = "e";
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  parameters.profile = "other";
  EXPECT_EQ(find().credentials.access_key, "OTHERKEY");
}

TEST_F(CredentialsTest, DefaultProfileIsReadWhole) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  const Identity identity = find();
  EXPECT_EQ(identity.credentials.access_key, "DEFAULTKEY");
  EXPECT_EQ(identity.credentials.secret_key, "default/secret==");
  EXPECT_EQ(identity.credentials.session_token, "");
}

TEST_F(CredentialsTest, LinesWithCarriageReturnsDoNotSpoilKeys) {
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  environment["AWS_PROFILE"] = "other";
  EXPECT_EQ(find().credentials.secret_key, "other");
  EXPECT_EQ(find().credentials.session_token, "token");
}

TEST_F(CredentialsTest, FilesNamedByTheEnvironmentAreTheOnesRead) {
  environment["AWS_SHARED_CREDENTIALS_FILE"] = "/c";
  environment["AWS_CONFIG_FILE"] = "/f";
  files["/c"] = kTwoProfiles;
  files["/f"] = "[default]\nregion = eu-west-3\n";
  EXPECT_EQ(find().credentials.access_key, "DEFAULTKEY");
  EXPECT_EQ(find().region, "eu-west-3");
}

TEST_F(CredentialsTest, ConfigFileNamesItsProfilesDifferently) {
  parameters.profile = "work";
  files["/home/u/.aws/config"] =
      "[work]\naws_access_key_id=WRONG\naws_secret_access_key=w\n"
      "[profile work]\ns3 =\n  aws_access_key_id = NESTED\n"
      "aws_access_key_id=WORK\naws_secret_access_key=s\nregion=sa-east-1\n";
  EXPECT_EQ(find().credentials.access_key, "WORK");
  EXPECT_EQ(find().region, "sa-east-1");
}

TEST_F(CredentialsTest, RegionComesFromTheFirstThatNamesOne) {
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

TEST_F(CredentialsTest, NothingFoundSaysWhereWasLooked) {
  const Error error = failure();
  EXPECT_EQ(error.code(), EACCES);
  for (const char* place : {"access-key", "AWS_ACCESS_KEY_ID", "\"default\"",
                            "/home/u/.aws/credentials", "/home/u/.aws/config"}) {
    EXPECT_NE(std::string(error.what()).find(place), std::string::npos) << place;
  }
}

TEST_F(CredentialsTest, ProfileThatDoesNotExistIsNamed) {
  parameters.profile = "typo";
  files["/home/u/.aws/credentials"] = kTwoProfiles;
  EXPECT_NE(std::string(failure().what()).find("\"typo\""), std::string::npos);
}

TEST_F(CredentialsTest, ProfileWithARoleSaysThatRolesAreNotSupported) {
  parameters.profile = "role";
  files["/home/u/.aws/config"] = "[profile role]\nrole_arn = arn:aws:iam::1:role/r\n";
  EXPECT_NE(std::string(failure().what()).find("role_arn"), std::string::npos);
}

TEST_F(CredentialsTest, HalfAKeyPairInAFileNamesTheFileAndNoSecret) {
  files["/home/u/.aws/credentials"] = "[default]\naws_secret_access_key = hunter2\n";
  const std::string message = failure().what();
  EXPECT_NE(message.find("/home/u/.aws/credentials"), std::string::npos);
  EXPECT_EQ(message.find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace nbdstack
