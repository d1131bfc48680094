#include "common/fault/fault.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/unit/fakes/log_of_errors.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FaultTest : public ::testing::Test {
 protected:
  FaultTest() { now_ = {}; }

  static void pass(Fault::Clock::duration time) { now_ += time; }
  // Returns the lines since the last call.
  std::vector<std::string> logged() {
    const std::vector<std::string> all = log_.all();
    std::vector<std::string> lines(all.begin() + static_cast<std::ptrdiff_t>(seen_), all.end());
    seen_ = all.size();
    return lines;
  }

  static inline Fault::Clock::time_point now_;
  testing::LogOfErrors log_;
  std::size_t seen_ = 0;
  Fault fault_{"writes", 10s, [] { return now_; }};
};

TEST_F(FaultTest, FailuresThatDifferInNumbersAreOneLine) {
  fault_.failed("PUT {}: gave up after {} attempts in {} s", "disk-1/00a7", 3, 2.5);
  fault_.failed("PUT {}: gave up after {} attempts in {} s", "disk-1/0b", 4, 2.25);
  EXPECT_THAT(logged(), ElementsAre("PUT disk-1/00a7: gave up after 3 attempts in 2.5 s"));
}

TEST_F(FaultTest, AFailureOfAnotherKindIsALineOfItsOwn) {
  fault_.failed_with("refused");
  fault_.failed_with("too late");
  fault_.failed_with("refused");
  EXPECT_THAT(logged(), ElementsAre("refused", "too late"));
}

TEST_F(FaultTest, AFaultLogsAFewKindsOfFailuresAtMost) {
  const std::string name = "abcdefghijklmnopqrstuvwxyz";
  for (const char& letter : name) fault_.failed_with(&letter);
  EXPECT_EQ(logged().size(), Fault::kMostMessages);
}

TEST_F(FaultTest, EachSubjectIsALineOfItsOwn) {
  for (const std::uint64_t block : {7, 8, 7, 8, 9}) {
    fault_.failed_with(fmt::format("block {} is damaged", block).c_str(), block);
  }
  EXPECT_THAT(logged(),
              ElementsAre("block 7 is damaged", "block 8 is damaged", "block 9 is damaged"));
}

TEST_F(FaultTest, ASuccessAfterTheQuietEndsIt) {
  fault_.failed_with("refused");
  pass(3s);
  fault_.failed_with("refused");
  pass(10s);
  fault_.succeeded();
  EXPECT_THAT(logged(), ElementsAre("refused", "writes succeed again: 2 failed within 3.0 s"));
  fault_.succeeded();
  EXPECT_THAT(logged(), IsEmpty());
}

TEST_F(FaultTest, SuccessesBetweenFailuresDoNotEndIt) {
  for (int i = 0; i < 100; ++i) {
    fault_.failed_with("refused");
    pass(9s);
    fault_.succeeded();
  }
  EXPECT_THAT(logged(), ElementsAre("refused"));
}

TEST_F(FaultTest, TheNextFaultIsToldLikeTheFirst) {
  fault_.failed_with("refused");
  pass(10s);
  fault_.succeeded();
  logged();
  fault_.failed_with("refused");
  EXPECT_THAT(logged(), ElementsAre("refused"));
}

TEST_F(FaultTest, AStopTellsOfFailuresThatTheLogDoesNotShow) {
  fault_.failed_with("refused");
  fault_.end();
  EXPECT_THAT(logged(), ElementsAre("refused"));
  for (int i = 0; i < 5; ++i) fault_.failed_with("refused");
  fault_.end();
  EXPECT_THAT(logged(), ElementsAre("refused", "of the writes, 5 failed within 0.0 s"));
  fault_.end();
  EXPECT_THAT(logged(), IsEmpty());
}

TEST_F(FaultTest, AMessageThatCannotBeFormattedIsLoggedWithoutItsValues) {
  fault_.failed("the name {:>{}} cannot be formatted", "x", 3'000'000'000);
  EXPECT_THAT(logged(), ElementsAre("the name {:>{}} cannot be formatted"));
}

}  // namespace
}  // namespace nbdstack
