#include "plugins/s3/aws/shared_config.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

class SharedConfigTest : public ::testing::Test {
 protected:
  SharedConfig read() { return SharedConfig::read(around.get()); }
  std::string setting(const std::string& profile, const std::string& name) {
    const SharedConfig config = read();
    const Profile* const found = config.find(profile);
    return found == nullptr ? "no such profile" : found->setting(name);
  }
  void set_config(const std::string& text) { around.files["/home/u/.aws/config"] = text; }

  testing::FakeEnvironment around;
};

TEST_F(SharedConfigTest, FilesThatDoNotExistAreEmpty) {
  const SharedConfig config = read();
  EXPECT_EQ(config.find("default"), nullptr);
  EXPECT_EQ(config.credentials_path(), "/home/u/.aws/credentials");
  EXPECT_EQ(config.config_path(), "/home/u/.aws/config");
}

TEST_F(SharedConfigTest, ProfilesAreNamedDifferentlyInTheTwoFiles) {
  around.files["/home/u/.aws/credentials"] = "[work]\na = credentials\n[profile other]\na = x\n";
  set_config("[work]\nb = nobody's\n[profile work]\na = config\nc = 3\n[default]\nd = 4\n");
  EXPECT_EQ(setting("work", "a"), "credentials");
  EXPECT_EQ(setting("work", "b"), "");
  EXPECT_EQ(setting("work", "c"), "3");
  EXPECT_EQ(setting("default", "d"), "4");
  EXPECT_EQ(setting("other", "a"), "no such profile");
}

TEST_F(SharedConfigTest, NamesMayBeQuoted) {
  set_config(
      "[profile \"my work\"]\na = 1\n[profile 'x']\na = 2\n[profile\ty ]\na = 3\n[profilez]\n");
  EXPECT_EQ(setting("my work", "a"), "1");
  EXPECT_EQ(setting("x", "a"), "2");
  EXPECT_EQ(setting("y", "a"), "3");
  EXPECT_EQ(setting("z", "a"), "no such profile");
}

TEST_F(SharedConfigTest, TheDefaultProfileInFullWordsWins) {
  set_config("[profile default]\na = long\n[default]\na = short\n");
  EXPECT_EQ(setting("default", "a"), "long");
}

TEST_F(SharedConfigTest, NestedSettingsAreNotTakenForTheirParents) {
  set_config("[default]\ns3 =\n  a = nested\n  # comment\n\n  b = nested\na = own\n");
  EXPECT_EQ(setting("default", "a"), "own");
  EXPECT_EQ(setting("default", "b"), "");
  EXPECT_EQ(setting("default", "s3"), "");
}

TEST_F(SharedConfigTest, SettingsThatAreAllIndentedAreSettings) {
  set_config("[default]\n  a = 1\n  b = 2\n    c = 3\n");
  EXPECT_EQ(setting("default", "a"), "1");
  EXPECT_EQ(setting("default", "b"), "2");
  EXPECT_EQ(setting("default", "c"), "");
}

TEST_F(SharedConfigTest, ValuesAreLiteral) {
  set_config("# c\r\n; c\r\n[default]\r\nA_Key = b/c==#d ; e\r\nA_key= last\r\nE =\r\n");
  EXPECT_EQ(setting("default", "a_key"), "last");
  set_config("[default]\nk = b/c==#d ; e");
  EXPECT_EQ(setting("default", "k"), "b/c==#d ; e");
}

TEST_F(SharedConfigTest, HomeMayBeWrittenAsATilde) {
  around.variables["AWS_CONFIG_FILE"] = "~/f";
  around.files["/home/u/f"] = "[default]\na = 1\n";
  EXPECT_EQ(setting("default", "a"), "1");
}

TEST_F(SharedConfigTest, WhatIsNoSuchFileIsRefusedByFileAndLineWithoutQuotingIt) {
  for (const char* text : {"hunter2", "\n[default]\nhunter2\n", "[hunter2\n", "hunter2 = 3"}) {
    set_config(text);
    try {
      (void)read();
      FAIL() << text;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(error.code(), EINVAL);
      EXPECT_NE(message.find("/home/u/.aws/config, line "), std::string::npos) << message;
      EXPECT_EQ(message.find("hunter2"), std::string::npos) << message;
    }
  }
}

TEST_F(SharedConfigTest, NestedSettingsAreFoundUnderTheirParents) {
  set_config("[default]\ns3 =\n  Addressing_Style = path\nregion = x\n");
  EXPECT_EQ(setting("default", "s3.addressing_style"), "path");
}

TEST_F(SharedConfigTest, AServiceIsFoundInTheServicesThatTheProfileNames) {
  set_config(
      "[profile a]\nservices = mine\nendpoint_url = https://all\n"
      "[profile b]\nendpoint_url = https://all\n"
      "[services mine]\nsts =\n  endpoint_url = https://sts\ns3 =\n  endpoint_url = https://s3\n");
  const SharedConfig config = read();
  EXPECT_EQ(config.service_setting(*config.find("a"), "s3", "endpoint_url"), "https://s3");
  EXPECT_EQ(config.service_setting(*config.find("a"), "ec2", "endpoint_url"), "https://all");
  EXPECT_EQ(config.service_setting(*config.find("b"), "s3", "endpoint_url"), "https://all");
  EXPECT_EQ(config.find("mine"), nullptr);
}

TEST_F(SharedConfigTest, FilesThatCannotBeOpenedAreEmptyAndSayWhy) {
  set_config("[default]\na = 1\n");
  EXPECT_EQ(read().fault(), "");
  around.can_open_files = false;
  EXPECT_EQ(setting("default", "a"), "no such profile");
  EXPECT_NE(read().fault().find("/home/u/.aws/credentials"), std::string::npos);
}

}  // namespace
}  // namespace nbdstack
