// What nbdstack-s3 understands.
#include "plugins/s3/command/command_line.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

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
  expect_refused({"create", "bucket=b", "siez=1G"}, "parameter siez: did you mean size?");
  expect_refused({"show", "new-passphras=x"}, "did you mean new-passphrase?");
  expect_refused({"show", "bucket=b", "--colour"}, "--colour");
  expect_refused({"show", "bucket=b", "--yes"}, "--yes is no option of show");
  expect_refused({"check", "bucket=b", "connections=0"}, "connections");
  expect_refused({"create", "bucket=b"}, "size=");
  expect_refused({"resize", "bucket=b"}, "size=");
  expect_refused({"passphrase", "bucket=b", "passphrase=x"}, "new-passphrase=");
  expect_refused({"passphrase", "bucket=b", "new-passphrase=x"}, "passphrase=");
  expect_refused({"show", "bucket=b", "new-passphrase=x"}, "new-passphrase=");
}

}  // namespace
}  // namespace nbdstack
