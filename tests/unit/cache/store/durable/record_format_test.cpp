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
  const record::Checksums now{0x1111222233334444, 0x5555666677778888};
  const record::Checksums old{0x9999aaaabbbbcccc, 0};
  const std::vector<record::Event> events{
      record::Wrote{.slot = 5,
                    .block = {33},
                    .pages = 0b0101,
                    .copies = 0b0100,
                    .dirty = true,
                    .now = now,
                    .old = old},
      record::Rewrote{.slot = 5, .pages = 0b0101, .now = now, .old = old},
      record::Zeroed{.slot = 6, .block = {34}, .pages = 0b0011, .may_trim = true, .old = old},
      record::Forgotten{.slot = 5, .pages = 0b0001, .old = {old[0]}},
      record::Cleaned{.slot = 5, .pages = 0b0100},
      record::Dropped{.slot = 5},
      record::Damaged{.slot = 6},
      record::ZerosAdded{{16384, 32768}, true},
      record::ZerosRemoved{{16384, 16384}},
  };
  std::vector<Record> records;
  for (const record::Event& event : events) {
    records.push_back({.event = event, .sequence = 100 + records.size(), .durable_sequence = 99});
  }
  records.push_back({.event = record::Commit{}, .sequence = 108, .durable_sequence = 99});
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

// All members: what is written again is the same bytes.
TEST(RecordFormatTest, EveryKindIsReadAsItWasWritten) {
  const Bytes bytes = golden("cache-directory/records.hex");
  std::span<const std::byte> rest(bytes);
  for (const Record& expected : every_kind()) {
    const auto found = decode(rest, kVectorGeneration, kVectorGeometry);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->record.kind(), expected.kind());
    EXPECT_EQ(encoded({found->record}), encoded({expected}));
    rest = rest.subspan(found->length);
  }
  EXPECT_TRUE(rest.empty());
}

// The control: each member has its place in the bytes.
TEST(RecordFormatTest, AMemberThatChangesChangesTheBytes) {
  const Bytes expected = golden("cache-directory/records.hex");
  const auto expect_another = [&](std::size_t which, const std::function<void(Record&)>& change) {
    std::vector<Record> records = every_kind();
    change(records.at(which));
    EXPECT_NE(first_difference(expected, encoded(records)), "") << "record " << which;
  };
  expect_another(0, [](Record& record) { ++record.sequence; });
  expect_another(0, [](Record& record) { ++record.durable_sequence; });
  expect_another(5, [](Record& record) { record.event = record::Damaged{5}; });
  const auto expect_member = [&]<typename Kind>(std::size_t which, auto(*change)(Kind&)->void) {
    expect_another(which, [&](Record& record) { change(std::get<Kind>(record.event)); });
  };
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.slot; });
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.block.value; });
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.pages; });
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.copies; });
  expect_member(
      0, +[](record::Wrote& wrote) { wrote.dirty = !wrote.dirty; });
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.now.at(0); });
  expect_member(
      0, +[](record::Wrote& wrote) { ++wrote.old.at(0); });
  expect_member(
      1, +[](record::Rewrote& rewrote) { ++rewrote.slot; });
  expect_member(
      1, +[](record::Rewrote& rewrote) { ++rewrote.pages; });
  expect_member(
      1, +[](record::Rewrote& rewrote) { ++rewrote.copies; });
  expect_member(
      1, +[](record::Rewrote& rewrote) { ++rewrote.now.at(0); });
  expect_member(
      1, +[](record::Rewrote& rewrote) { ++rewrote.old.at(0); });
  expect_member(
      2, +[](record::Zeroed& zeroed) { ++zeroed.slot; });
  expect_member(
      2, +[](record::Zeroed& zeroed) { ++zeroed.block.value; });
  expect_member(
      2, +[](record::Zeroed& zeroed) { ++zeroed.pages; });
  expect_member(
      2, +[](record::Zeroed& zeroed) { zeroed.may_trim = !zeroed.may_trim; });
  expect_member(
      2, +[](record::Zeroed& zeroed) { ++zeroed.old.at(0); });
  expect_member(
      3, +[](record::Forgotten& forgotten) { ++forgotten.slot; });
  expect_member(
      3, +[](record::Forgotten& forgotten) { ++forgotten.pages; });
  expect_member(
      3, +[](record::Forgotten& forgotten) { ++forgotten.old.at(0); });
  expect_member(
      4, +[](record::Cleaned& cleaned) { ++cleaned.slot; });
  expect_member(
      4, +[](record::Cleaned& cleaned) { ++cleaned.pages; });
  expect_member(
      5, +[](record::Dropped& dropped) { ++dropped.slot; });
  expect_member(
      6, +[](record::Damaged& damaged) { ++damaged.slot; });
  expect_member(
      7, +[](record::ZerosAdded& zeros) { ++zeros.range.offset; });
  expect_member(
      7, +[](record::ZerosAdded& zeros) { ++zeros.range.length; });
  expect_member(
      7, +[](record::ZerosAdded& zeros) { zeros.may_trim = !zeros.may_trim; });
  expect_member(
      8, +[](record::ZerosRemoved& zeros) { ++zeros.range.offset; });
  expect_member(
      8, +[](record::ZerosRemoved& zeros) { ++zeros.range.length; });
  Bytes other;
  for (const Record& record : every_kind()) encode(record, kVectorGeneration + 1, other);
  EXPECT_NE(first_difference(expected, other), "") << "generation";
}

}  // namespace
}  // namespace nbdstack::testing
