// What nbdstack-s3 understands, and how values are read outside of nbdkit.
#include "plugins/s3/command/command_line.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::LogOfErrors;
using Words = std::vector<std::string>;

std::string refusal_of(const Words& words) {
  try {
    const CommandLine command(words);
    return "";
  } catch (const UsageError& error) {
    return error.what();
  }
}

void expect_refused(const Words& words, const std::string& because) {
  const std::string refusal = refusal_of(words);
  EXPECT_NE(refusal.find(because), std::string::npos) << '"' << refusal << '"';
}

TEST(CommandLineTest, VerbsParametersAndOptions) {
  const CommandLine command({"resize", "bucket=b", "key=k", "size=1M", "--force", "--progress"});
  EXPECT_EQ(command.verb(), Verb::resize);
  EXPECT_EQ(command.parameters().serving().request.bucket, "b");
  EXPECT_EQ(command.parameters().serving().request.key, "k");
  EXPECT_EQ(command.parameters().serving().request.size_bytes, 1048576U);
  EXPECT_TRUE(command.force());
  EXPECT_TRUE(command.progress());
  EXPECT_FALSE(command.json());
}

TEST(CommandLineTest, OptionsMayComeFirstAndABareWordIsTheBucket) {
  const CommandLine command({"--json", "show", "b/some/key", "endpoint-url=file:///x"});
  EXPECT_EQ(command.verb(), Verb::show);
  EXPECT_TRUE(command.json());
  EXPECT_EQ(command.parameters().store().bucket, "b");
  EXPECT_EQ(command.parameters().serving().request.key, "some/key");
}

TEST(CommandLineTest, HelpAndVersionNeedNothingElse) {
  EXPECT_EQ(CommandLine({"--help"}).verb(), Verb::help);
  EXPECT_EQ(CommandLine({"check", "--help"}).verb(), Verb::help);
  EXPECT_EQ(CommandLine({"--version"}).verb(), Verb::version);
}

TEST(CommandLineTest, HelpNamesEveryVerbAndParameter) {
  const std::string help = CommandLine::help();
  for (const char* word : {"create", "show", "list", "resize", "check", "delete", "passphrase",
                           "--yes", "new-passphrase=", "endpoint-url="}) {
    EXPECT_NE(help.find(word), std::string::npos) << word;
  }
}

TEST(CommandLineTest, WhatIsNotUnderstoodIsRefused) {
  expect_refused({}, "a verb is missing");
  expect_refused({"--json"}, "a verb is missing");
  expect_refused({"destroy", "bucket=b"}, "'destroy'");
  expect_refused({"show"}, "bucket");
  expect_refused({"show", "bucket=b", "colour=red"}, "colour");
  expect_refused({"show", "bucket=b", "--colour"}, "--colour");
  expect_refused({"show", "bucket=b", "--yes"}, "--yes is no option of show");
  expect_refused({"check", "bucket=b", "connections=0"}, "connections");
  expect_refused({"create", "bucket=b"}, "size=");
  expect_refused({"resize", "bucket=b"}, "size=");
  expect_refused({"passphrase", "bucket=b", "passphrase=x"}, "new-passphrase=");
  expect_refused({"passphrase", "bucket=b", "new-passphrase=x"}, "passphrase=");
  expect_refused({"show", "bucket=b", "new-passphrase=x"}, "new-passphrase=");
}

// --- values, as nbdkit reads them ---

std::optional<std::uint64_t> size_of(const std::string& text) {
  try {
    return parse_size("size", text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

TEST(StandaloneTest, SizesHaveNbdkitsSuffixes) {
  constexpr std::uint64_t kKiB = 1024;
  const std::map<std::string, std::optional<std::uint64_t>> expected{
      {"0", 0},
      {"100", 100},
      {"7b", 7},
      {"3s", 1536},
      {"3S", 1536},
      {"2k", 2 * kKiB},
      {"2K", 2 * kKiB},
      {"5M", 5 * kKiB * kKiB},
      {"1g", kKiB * kKiB * kKiB},
      {"1T", kKiB * kKiB * kKiB * kKiB},
      {"1p", kKiB * kKiB * kKiB * kKiB * kKiB},
      {"7E", 7 * kKiB * kKiB * kKiB * kKiB * kKiB * kKiB},
      {"9223372036854775807", INT64_MAX},
      {"8E", std::nullopt},
      {"9223372036854775808", std::nullopt},
      {"-1", std::nullopt},
      {"", std::nullopt},
      {"k", std::nullopt},
      {"1kB", std::nullopt},
      {"1x", std::nullopt},
      {"1.5M", std::nullopt}};
  for (const auto& [text, size] : expected) EXPECT_EQ(size_of(text), size) << text;
}

TEST(StandaloneTest, TruthInNbdkitsWords) {
  for (const char* word : {"1", "true", "T", "Yes", "y", "ON"}) {
    EXPECT_TRUE(parse_bool("x", word)) << word;
  }
  for (const char* word : {"0", "FALSE", "f", "no", "N", "off"}) {
    EXPECT_FALSE(parse_bool("x", word)) << word;
  }
  for (const char* word : {"", "2", "maybe", "tru"}) {
    EXPECT_THROW(parse_bool("x", word), Error) << word;
  }
}

TEST(StandaloneTest, NumbersInAnyBaseOfCs) {
  unsigned number = 0;
  const ParameterTable table({number_parameter("n", number, 0, 1000, "")});
  for (const auto& [text, value] :
       std::map<std::string, unsigned>{{"10", 10}, {"0x10", 16}, {"010", 8}}) {
    EXPECT_TRUE(table.set("n", text));
    EXPECT_EQ(number, value);
  }
  for (const char* text : {"", "-1", "1x", "x", "4294967296", "99999999999999999999"}) {
    EXPECT_THROW(static_cast<void>(table.set("n", text)), Error) << text;
  }
}

TEST(StandaloneTest, PathsBecomeAbsolute) {
  EXPECT_EQ(absolute_path("p", "/a/b"), "/a/b");
  EXPECT_EQ(absolute_path("p", "a/b"), std::filesystem::current_path() / "a/b");
  EXPECT_THROW(absolute_path("p", ""), Error);
}

class SecretTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "secret-XXXXXX";
    ::close(::mkstemp(name.data()));
    path_ = name;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void put(const std::string& text) const { std::ofstream(path_) << text; }
  static std::string read(const std::string& value) {
    std::string secret;
    const ParameterTable table({password_parameter("secret", secret, "")});
    static_cast<void>(table.set("secret", value));
    return secret;
  }

  LogOfErrors log_;
  std::filesystem::path path_;
};

TEST_F(SecretTest, LiteralFileAndDescriptor) {
  EXPECT_EQ(read("word"), "word");
  EXPECT_EQ(read(""), "");
  for (const char* text : {"from a file", "from a file\n", "from a file\nand more\n"}) {
    put(text);
    EXPECT_EQ(read("+" + path_.string()), "from a file");
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(read("-" + std::to_string(descriptor)), "from a file");
    EXPECT_EQ(::fcntl(descriptor, F_GETFD), -1) << "it is still open";
  }
}

TEST_F(SecretTest, WhatCannotBeReadIsNamedAndNoSecretIs) {
  for (const std::string& value :
       {"+" + path_.string(), std::string("+/no/such/file"), std::string("-0"), std::string("-2"),
        std::string("-9999"), std::string("-hidden")}) {
    EXPECT_THROW(read(value), Error) << value;
  }
  EXPECT_EQ(log_.count({path_.string(), "nothing"}), 1U);
  EXPECT_EQ(log_.count({"/no/such/file", "No such file"}), 1U);
  EXPECT_EQ(log_.count({"above 2"}), 2U);
  EXPECT_EQ(log_.count({"hidden"}), 0U);
}

}  // namespace
}  // namespace nbdstack
