// The bytes of the journal's records, one of each kind: docs/formats/cache-directory.md describes
// them, and format_test.cpp has the files that they lie in.
#include <gtest/gtest.h>

#include <functional>

#include "filters/cache/store/durable/record.hpp"
#include "tests/unit/fakes/golden.hpp"

namespace nbdstack::testing {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kVectorGeneration = 7;
const BlockGeometry kVectorGeometry(64 * 16384, 16384);

std::vector<Record> every_kind() {
  using RecordKind = Record::Kind;
  const std::vector<std::uint64_t> now{0x1111222233334444, 0x5555666677778888};
  const std::vector<std::uint64_t> old{0x9999aaaabbbbcccc, 0};
  std::vector<Record> records{
      {.kind = RecordKind::wrote,
       .flag = true,
       .slot = 5,
       .first = 33,
       .second = 0b0101,
       .copies = 0b0100,
       .new_checksums = now,
       .old_checksums = old},
      {.kind = RecordKind::rewrote,
       .slot = 5,
       .second = 0b0101,
       .new_checksums = now,
       .old_checksums = old},
      {.kind = RecordKind::zeroed,
       .flag = true,
       .slot = 6,
       .first = 34,
       .second = 0b0011,
       .new_checksums = {0, 0},
       .old_checksums = old},
      {.kind = RecordKind::forgotten,
       .slot = 5,
       .second = 0b0001,
       .new_checksums = {0},
       .old_checksums = {old[0]}},
      {.kind = RecordKind::cleaned, .slot = 5, .second = 0b0100},
      {.kind = RecordKind::dropped, .slot = 5},
      {.kind = RecordKind::damaged, .slot = 6},
      {.kind = RecordKind::zeros_added, .flag = true, .first = 16384, .second = 32768},
      {.kind = RecordKind::zeros_removed, .first = 16384, .second = 16384},
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].sequence = 100 + i;
    records[i].durable_sequence = 99;
  }
  records.push_back({.kind = RecordKind::commit, .sequence = 108, .durable_sequence = 99});
  return records;
}

Bytes encoded(const std::vector<Record>& records) {
  Bytes bytes;
  for (const Record& record : records) encode(record, kVectorGeneration, bytes);
  return bytes;
}

TEST(RecordFormatTest, EveryKindIsWrittenAsItAlwaysWas) {
  expect_golden("cache-directory/records.hex", encoded(every_kind()));
}

TEST(RecordFormatTest, EveryKindIsReadAsItWasWritten) {
  const Bytes bytes = golden("cache-directory/records.hex");
  std::span<const std::byte> rest(bytes);
  for (const Record& expected : every_kind()) {
    const auto found = decode(rest, kVectorGeneration, kVectorGeometry);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->record.kind, expected.kind);
    EXPECT_EQ(found->record.flag, expected.flag);
    EXPECT_EQ(found->record.sequence, expected.sequence);
    EXPECT_EQ(found->record.durable_sequence, expected.durable_sequence);
    EXPECT_EQ(found->record.slot, expected.slot);
    EXPECT_EQ(found->record.first, expected.first);
    EXPECT_EQ(found->record.second, expected.second);
    EXPECT_EQ(found->record.copies, expected.copies);
    EXPECT_EQ(found->record.new_checksums, expected.new_checksums);
    EXPECT_EQ(found->record.old_checksums, expected.old_checksums);
    rest = rest.subspan(found->length);
  }
  EXPECT_TRUE(rest.empty());
}

// The control: each field has its place in the bytes.
TEST(RecordFormatTest, AFieldThatChangesChangesTheBytes) {
  const Bytes expected = golden("cache-directory/records.hex");
  const std::vector<std::function<void(Record&)>> changes{
      [](Record& record) { record.kind = Record::Kind::rewrote; },
      [](Record& record) { record.flag = !record.flag; },
      [](Record& record) { ++record.sequence; },
      [](Record& record) { ++record.durable_sequence; },
      [](Record& record) { ++record.slot; },
      [](Record& record) { ++record.first; },
      [](Record& record) { ++record.second; },
      [](Record& record) { ++record.copies; },
      [](Record& record) { ++record.new_checksums.at(0); },
      [](Record& record) { ++record.old_checksums.at(0); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    std::vector<Record> records = every_kind();
    changes[i](records.front());
    EXPECT_NE(first_difference(expected, encoded(records)), "") << "change " << i;
  }
  Bytes other;
  for (const Record& record : every_kind()) encode(record, kVectorGeneration + 1, other);
  EXPECT_NE(first_difference(expected, other), "") << "generation";
}

}  // namespace
}  // namespace nbdstack::testing
