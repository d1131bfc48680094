// What people and the service manager are told of a last write-back.
#include "filters/cache/serving/write_back_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr std::uint64_t kMiB = 1U << 20U;

class WriteBackReportTest : public ::testing::Test {
 protected:
  WriteBackReport begin(std::uint64_t left_bytes) {
    left_bytes_ = left_bytes;
    return WriteBackReport({[this] { return left_bytes_; }, [this] { return progress_; }},
                           {[this](const auto& line) { lines.push_back(line); },
                            [this](const auto& message) { messages.push_back(message); }},
                           now);
  }
  void write_back(std::uint64_t size_bytes) {
    left_bytes_ -= size_bytes;
    ++progress_;
  }

  TimePoint now{};
  std::vector<std::string> lines;
  std::vector<std::string> messages;

 private:
  std::uint64_t left_bytes_ = 0;
  std::uint64_t progress_ = 0;
};

TEST_F(WriteBackReportTest, LogsNothingOfWhatIsDoneSoon) {
  auto report = begin(40 * kMiB);
  write_back(40 * kMiB);
  report.end(now + 1s);
  EXPECT_THAT(lines, IsEmpty());
}

TEST_F(WriteBackReportTest, LogsHowMuchIsLeftEveryTenSecondsAndTheEnd) {
  auto report = begin(40 * kMiB);
  for (int second = 2; second < 20; ++second) {
    write_back(kMiB);
    report.look(now + std::chrono::seconds(second));
  }
  write_back(22 * kMiB);
  report.end(now + 20s);
  EXPECT_THAT(lines, ElementsAre("writing back: 40894464 of 41943040 bytes are left, 512.0 KiB/s",
                                 "writing back: 30408704 of 41943040 bytes are left, 938.7 KiB/s",
                                 "41943040 bytes were written back in 20 s"));
}

TEST_F(WriteBackReportTest, LogsAWriteBackThatMakesNoProgress) {
  auto report = begin(40 * kMiB);
  report.look(now + 2s);
  report.look(now + 12s);
  report.end(now + 15s);
  EXPECT_THAT(
      lines,
      ElementsAre(
          "writing back: 41943040 of 41943040 bytes are left, 0 bytes/s",
          "writing back: 41943040 of 41943040 bytes are left, 0 bytes/s",
          "the write-back ended after 15 s: 41943040 of 41943040 bytes were not written back"));
}

TEST_F(WriteBackReportTest, CountsWhatAClientAdds) {
  auto report = begin(kMiB);
  write_back(-kMiB);
  report.look(now + 2s);
  EXPECT_THAT(lines, ElementsAre("writing back: 2097152 of 2097152 bytes are left, 0 bytes/s"));
}

TEST_F(WriteBackReportTest, LogsNothingWhereOnlyAFlushIsLeft) {
  auto report = begin(kMiB);
  write_back(kMiB);
  report.look(now + 2s);
  report.end(now + 60s);
  EXPECT_THAT(lines, IsEmpty());
}

TEST_F(WriteBackReportTest, AsksForTimeOnlyWhileThereIsProgress) {
  auto report = begin(40 * kMiB);
  EXPECT_THAT(messages, ElementsAre("EXTEND_TIMEOUT_USEC=120000000\n"
                                    "STATUS=41943040 bytes are to be written back"));
  messages.clear();
  report.look(now + 5s);
  EXPECT_THAT(messages, IsEmpty());
  write_back(kMiB);
  report.look(now + 10s);
  EXPECT_THAT(messages, ElementsAre(StartsWith("EXTEND_TIMEOUT_USEC=120000000\nSTATUS=writing "
                                               "back: 40894464 of 41943040 bytes are left, ")));
  messages.clear();
  report.look(now + 15s);
  EXPECT_THAT(messages, IsEmpty());
  report.end(now + 16s);
  EXPECT_THAT(messages, ElementsAre(HasSubstr("STATUS=the write-back ended after 16 s")));
}

TEST_F(WriteBackReportTest, AsksForTimeOnceWhereNothingIsLeft) {
  auto report = begin(0);
  EXPECT_FALSE(report.has_anything_to_tell());
  report.end(now + 60s);
  EXPECT_THAT(messages, ElementsAre("EXTEND_TIMEOUT_USEC=120000000"));
  EXPECT_THAT(lines, IsEmpty());
}

}  // namespace
}  // namespace nbdstack
