#include "plugins/s3/aws/credential_process.hpp"

#include <gtest/gtest.h>

#include "plugins/s3/aws/run_program.hpp"
#include "tests/unit/s3/aws/fake_environment.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using Arguments = std::vector<std::string>;

TEST(SplitCommand, SplitsAsAShellDoes) {
  EXPECT_EQ(split_command("  /opt/a  b\tc "), (Arguments{"/opt/a", "b", "c"}));
  EXPECT_EQ(split_command(R"("/opt/my tool" 'it''s' "" --x="a b")"),
            (Arguments{"/opt/my tool", "its", "", "--x=a b"}));
  EXPECT_EQ(split_command(R"(a\ b 'c\d' "e\"f\\g\h")"), (Arguments{"a b", "c\\d", "e\"f\\g\\h"}));
  EXPECT_EQ(split_command("a $HOME ~ * | b;c"), (Arguments{"a", "$HOME", "~", "*", "|", "b;c"}));
}

TEST(SplitCommand, RefusesWhatHasNoEndAndNoProgram) {
  for (const char* command : {"", "  ", "a 'b", "a \"b", "a\\", "'' a"}) {
    EXPECT_THROW(split_command(command), Error) << command;
  }
}

class CredentialProcessTest : public ::testing::Test {
 protected:
  Credentials get(const std::string& output, int exit_code = 0, const std::string& errors = "") {
    around.programs["tool"] = {.exit_code = exit_code, .output = output, .errors = errors};
    return credentials_of_process("work", "tool --token=hunter2", around.get());
  }
  std::string failure(const std::string& output, int exit_code = 0,
                      const std::string& errors = "") {
    try {
      get(output, exit_code, errors);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EACCES);
      std::string message = error.what();
      EXPECT_NE(message.find("profile \"work\""), std::string::npos) << message;
      EXPECT_EQ(message.find("hunter2"), std::string::npos) << message;
      return message;
    }
    return "no failure";
  }

  testing::FakeEnvironment around;
};

TEST_F(CredentialProcessTest, ReadsWhatTheProgramPrints) {
  const Credentials found =
      get(R"({"Version": 1, "AccessKeyId": "KEY", "SecretAccessKey": "s", "SessionToken": "t",)"
          R"("Expiration": "2001-09-09T02:46:40+00:00"})");
  EXPECT_EQ(found, (Credentials{"KEY", "s", "t", around.now + std::chrono::hours(1)}));
  EXPECT_EQ(around.commands.at(0), (Arguments{"tool", "--token=hunter2"}));
  EXPECT_EQ(get(R"({"Version":1,"AccessKeyId":"K","SecretAccessKey":"s","Expiration":null})"),
            (Credentials{"K", "s", ""}));
}

TEST_F(CredentialProcessTest, RefusesWhatIsNotCredentialsWithoutQuotingIt) {
  EXPECT_NE(failure("hunter2").find("no JSON object"), std::string::npos);
  EXPECT_NE(failure(R"({"Version":2,"AccessKeyId":"hunter2"})").find("\"Version\": 1"),
            std::string::npos);
  EXPECT_NE(failure(R"({"Version":1,"AccessKeyId":"hunter2"})").find("no SecretAccessKey"),
            std::string::npos);
  EXPECT_NE(failure(R"({"Version":1,"AccessKeyId":1,"SecretAccessKey":"hunter2"})")
                .find("no AccessKeyId"),
            std::string::npos);
  EXPECT_NE(failure(R"({"Version":1,"AccessKeyId":"K","SecretAccessKey":"s","Expiration":"soon"})")
                .find("Expiration"),
            std::string::npos);
}

TEST_F(CredentialProcessTest, FailureSaysExitCodeAndFirstLineOfStderr) {
  const std::string message = failure("hunter2", 7, "session has ended\nhunter2\n");
  EXPECT_NE(message.find("tool ended with exit code 7: session has ended"), std::string::npos)
      << message;
}

TEST_F(CredentialProcessTest, ProgramThatDoesNotExistIsNamed) {
  EXPECT_THROW(credentials_of_process("work", "nosuchprogram hunter2", around.get()), Error);
}

Arguments shell(const std::string& script) {
  return {"sh", "-c", script};
}

TEST(RunProgram, KeepsBothOutputsAndTheExitCode) {
  const ProcessOutcome outcome =
      run_program(shell("echo out; echo err >&2; cat; exit 3"), milliseconds(60'000));
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.output, "out\n");
  EXPECT_EQ(outcome.errors, "err\n");
}

TEST(RunProgram, ReadsMoreThanAPipeHoldsAndNotMuchMore) {
  const auto say = [](int count) {
    return run_program(shell(fmt::format("head -c {} /dev/zero", count)), milliseconds(60'000));
  };
  EXPECT_EQ(say(65'000).output.size(), 65'000U);
  EXPECT_THROW(say(1'000'000), Error);
}

TEST(RunProgram, SaysWhichSignalEndedIt) {
  EXPECT_EQ(run_program(shell("kill -9 $$"), milliseconds(60'000)).exit_code, 137);
}

TEST(RunProgram, KillsWhatLastsTooLongWithItsChildren) {
  try {
    run_program(shell("sleep 600 & sleep 600"), milliseconds(50));
    FAIL() << "it ended";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ETIMEDOUT);
    EXPECT_EQ(std::string(error.what()).find("600"), std::string::npos) << "arguments are secrets";
  }
}

TEST(RunProgram, NamesAProgramThatIsNotThere) {
  try {
    run_program({"/nonexistent/tool", "hunter2"}, milliseconds(1'000));
    FAIL() << "it ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("/nonexistent/tool"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos);
  }
}

}  // namespace
}  // namespace nbdstack
