// What a lease record is read from and written as, and what is refused.
#include "plugins/s3/lease/lease_record.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::FakeProcesses;

const std::string kRecord = R"({
  "format": "nbdstack-lease",
  "version": 3,
  "state": "held",
  "owner": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
  "host": "vm-host-3",
  "pid": 4711,
  "start-time": 123456,
  "boot-id": "a-b-c",
  "pid-namespace": "pid:[4026531836]",
  "since": "2026-01-31T12:00:00Z",
  "renewals": 12,
  "duration-ms": 30000,
  "term": 9,
  "changed-term": 5,
  "unchanged-terms": [
    6,
    8
  ]
}
)";

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kRecord;
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(LeaseRecordTest, IsReadAndWrittenByteForByte) {
  const LeaseRecord record = LeaseRecord::parse(kRecord, "o");
  EXPECT_EQ(record.state, LeaseRecord::State::held);
  EXPECT_EQ(record.owner, "0f1e2d3c4b5a69788796a5b4c3d2e1f0");
  EXPECT_EQ(record.process.pid, 4711);
  EXPECT_EQ(record.process.start_time, 123456U);
  EXPECT_EQ(record.renewals, 12U);
  EXPECT_EQ(record.duration, std::chrono::seconds(30));
  EXPECT_EQ(record.term, (LeaseTerm{.number = 9, .changed_in = 5, .unchanged = {6, 8}}));
  EXPECT_EQ(record.to_json(), kRecord);
  EXPECT_EQ(record.owner_in_words(), "nbdkit on vm-host-3, pid 4711, since 2026-01-31T12:00:00Z");

  const std::string released = changed("held", "released");
  EXPECT_EQ(LeaseRecord::parse(released, "o").to_json(), released);
}

TEST(LeaseRecordTest, OneOfVersion1IsReadAndHasNoTerm) {
  std::string text = changed("\"version\": 3", "\"version\": 1");
  text.replace(text.find(",\n  \"term\""), std::string::npos, "\n}\n");
  const LeaseRecord record = LeaseRecord::parse(text, "o");
  EXPECT_FALSE(record.term.has_value());
  EXPECT_EQ(record.to_json(), text);
}

TEST(LeaseRecordTest, OneOfVersion2CountsByOne) {
  std::string text = changed("\"version\": 3", "\"version\": 2");
  text.replace(text.find(",\n  \"unchanged"), std::string::npos, "\n}\n");
  const LeaseRecord record = LeaseRecord::parse(text, "o");
  EXPECT_EQ(record.term, (LeaseTerm{.number = 9, .changed_in = 5, .unchanged = {6, 7, 8}}));
}

TEST(LeaseRecordTest, ANewOneHasARandomOwnerAndThisProcess) {
  const FakeProcesses processes("here", 7);
  const auto one = LeaseRecord::make(processes, std::chrono::seconds(30));
  const auto two = LeaseRecord::make(processes, std::chrono::seconds(30));
  EXPECT_NE(one.owner, two.owner);
  EXPECT_EQ(one.process, processes.process);
  EXPECT_EQ(one.since.size(), std::string("2026-01-31T12:00:00Z").size());
  EXPECT_EQ(LeaseRecord::parse(one.to_json(), "o").owner, one.owner);
}

TEST(LeaseRecordTest, AnEarlierVersionThatStartsHasNoPid) {
  const LeaseRecord record = LeaseRecord::parse(changed("4711", "0"), "o");
  EXPECT_NE(record.owner_in_words().find("still starting"), std::string::npos);
}

TEST(LeaseRecordTest, WhatTheMachineIsCalledNeverMakesARecordThatCannotBeRead) {
  FakeProcesses processes("b\xc3\xbcro\n\x1b[2J" + std::string(300, 'x'), 7);
  const auto record = LeaseRecord::make(processes, std::chrono::seconds(30));
  const auto read = LeaseRecord::parse(record.to_json(), "o");
  EXPECT_TRUE(read.process.host_name.starts_with("b??ro??[2Jxx"));
  EXPECT_EQ(read.process.host_name.size(), 255U);
  processes.process.host_name.clear();
  const auto nameless = LeaseRecord::make(processes, std::chrono::seconds(30));
  EXPECT_NE(nameless.owner_in_words().find("a host without a name"), std::string::npos);
}

TEST(LeaseRecordTest, EverythingElseIsRefusedNamingTheObjectAndTheWayOut) {
  const auto expect_refusal = [](const std::string& text, const std::string& word) {
    SCOPED_TRACE(text);
    expect_error(EINVAL, {"disk/nbdstack-lease.json", "own=force", word},
                 [&] { LeaseRecord::parse(text, "disk/nbdstack-lease.json"); });
  };
  expect_refusal("", "no JSON object");
  expect_refusal("[]", "no JSON object");
  expect_refusal(kRecord.substr(0, 40), "no JSON object");
  expect_refusal(changed("nbdstack-lease", "nbdstack-volume"), "format");
  expect_refusal(changed("\"version\": 3", "\"version\": 4"), "version 4");
  expect_refusal(changed("\"version\": 3", "\"version\": 0"), "version 0");
  expect_refusal(changed("\"version\": 3", "\"version\": 4, \"new\": 1"), "version 4");
  expect_refusal(changed("\"version\": 3", "\"version\": \"3\""), "version");
  expect_refusal(changed("\"version\": 3", "\"version\": 3, \"new\": 1"), "unknown");
  expect_refusal(changed("\"version\": 3", "\"version\": 2"), "unchanged-terms");
  expect_refusal(changed("\"version\": 3", "\"version\": 1"), "unknown");
  expect_refusal(changed("\"term\": 9,", ""), "term");
  expect_refusal(changed("\"changed-term\": 5", "\"changed-term\": 10"), "term of 9");
  expect_refusal(changed("\"term\": 9", "\"term\": 9223372036854775808"), "not possible");
  expect_refusal(changed("    8\n", "    9\n"), "not possible");
  expect_refusal(changed("    6,\n", "    5,\n"), "not possible");
  expect_refusal(changed("    6,\n", "    8,\n"), "not possible");
  expect_refusal(changed("    6,\n", "    -6,\n"), "unchanged-terms");
  expect_refusal(changed("    6,\n", "    \"6\",\n"), "unchanged-terms");
  expect_refusal(changed("held", "sold"), "sold");
  expect_refusal(changed("0f1e", "0F1E"), "owner");
  expect_refusal(changed("0f1e", "0f1"), "owner");
  expect_refusal(changed("vm-host-3", "\\u001b[2J"), "host");
  expect_refusal(changed("vm-host-3", std::string(256, 'x')), "host");
  expect_refusal(changed("\"host\": \"vm-host-3\",", ""), "host");
  expect_refusal(changed("4711", "-1"), "pid");
  expect_refusal(changed("4711", "4294967296"), "pid");
  expect_refusal(changed("123456", "1.5"), "start-time");
  expect_refusal(changed("\"a-b-c\"", "7"), "boot-id");
  expect_refusal(changed("30000", "4999"), "duration");
  expect_refusal(changed("30000", "3600001"), "duration");
  expect_refusal(changed("\"renewals\": 12,", ""), "renewals");
}

TEST(LeaseRecordTest, LiesBesideTheBlocks) {
  EXPECT_EQ(lease_object_key("a/b"), "a/b/nbdstack-lease.json");
  EXPECT_EQ(lease_object_key(""), "nbdstack-lease.json");
}

}  // namespace
}  // namespace nbdstack
