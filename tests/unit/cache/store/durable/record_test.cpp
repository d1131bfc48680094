// Records of the journal, and snapshots, whose checksums are right and which are impossible all the
// same: what they speak of does not exist, and nobody may look there.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"
#include "filters/cache/store/durable/record.hpp"
#include "filters/cache/store/durable/snapshot.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"

namespace nbdstack::testing {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr std::uint64_t kGeneration = 3;
constexpr std::uint32_t kBlock_bytes = 16384;  // four pages
const BlockGeometry kGeometry(10 * kBlock_bytes - 1, kBlock_bytes);

std::vector<std::byte> encoded(const Record& record, std::uint64_t generation = kGeneration) {
  std::vector<std::byte> bytes;
  encode(record, generation, bytes);
  return bytes;
}

bool is_record(const record::Event& event) {
  return decode(encoded({.event = event}), kGeneration, kGeometry).has_value();
}

record::Wrote wrote(std::uint64_t block, PageMask pages, std::size_t checksums) {
  return {.slot = 0,
          .block = {block},
          .pages = pages,
          .now = record::Checksums(checksums),
          .old = record::Checksums(checksums)};
}

TEST(RecordTest, ABlockBehindTheDiskMakesNoRecord) {
  EXPECT_TRUE(is_record(wrote(9, 0b1111, 4)));
  EXPECT_FALSE(is_record(wrote(10, 0b1111, 4)));
  EXPECT_TRUE(is_record(record::Zeroed{.slot = 0, .block = {9}, .pages = 1}));
  EXPECT_FALSE(is_record(record::Zeroed{.slot = 0, .block = {~std::uint64_t{0}}, .pages = 1}));
}

TEST(RecordTest, PagesThatABlockHasNotMakeNoRecord) {
  EXPECT_FALSE(is_record(wrote(0, 0b10000, 1)));
  for (const PageMask pages : {PageMask{0b1000}, PageMask{0b10000}}) {
    const bool has_them = pages == 0b1000;
    EXPECT_EQ(is_record(record::Zeroed{.slot = 0, .pages = pages}), has_them);
    EXPECT_EQ(is_record(record::Forgotten{.slot = 0, .pages = pages}), has_them);
    EXPECT_EQ(is_record(record::Cleaned{.slot = 0, .pages = pages}), has_them);
  }
  record::Wrote copies = wrote(0, 1, 1);
  EXPECT_TRUE(is_record(copies));
  copies.copies = 0b10000;
  EXPECT_FALSE(is_record(copies));
}

TEST(RecordTest, NewContentHasAChecksumForEachPage) {
  EXPECT_FALSE(is_record(wrote(0, 0b0111, 0)));
  EXPECT_FALSE(is_record(wrote(0, 0b0111, 2)));
  EXPECT_FALSE(is_record(wrote(0, 0b0111, 4)));
  for (const std::size_t checksums : {2U, 3U}) {
    const record::Checksums some(checksums);
    EXPECT_EQ(is_record(record::Rewrote{.slot = 0, .pages = 0b0111, .now = some, .old = some}),
              checksums == 3);
  }
}

TEST(RecordTest, ZerosLieOnTheDisk) {
  const std::uint64_t size = kGeometry.size_bytes();
  const auto is_one = [](const Range& range) {
    const bool is_added = is_record(record::ZerosAdded{range, true});
    EXPECT_EQ(is_record(record::ZerosRemoved{range}), is_added);
    return is_added;
  };
  EXPECT_TRUE(is_one({0, size}));
  EXPECT_FALSE(is_one({1, size}));
  EXPECT_FALSE(is_one({size + 1, 0}));
  EXPECT_FALSE(is_one({kBlock_bytes, ~std::uint64_t{0}}));
}

// As many as a record of another kind has, with a checksum of the whole that fits.
TEST(RecordTest, AKindWithoutChecksumsHasNone) {
  std::vector<std::byte> bytes =
      encoded({.event = record::Forgotten{.slot = 1, .pages = 1, .old = record::Checksums{5}}});
  EXPECT_TRUE(decode(bytes, kGeneration, kGeometry).has_value());
  for (const unsigned kind : {5U, 6U, 7U, 10U}) {
    bytes[12] = static_cast<std::byte>(kind);
    const std::uint64_t checksum = checksum_of(std::span(bytes).subspan(8), kGeneration);
    std::memcpy(bytes.data(), &checksum, sizeof checksum);
    EXPECT_FALSE(decode(bytes, kGeneration, kGeometry).has_value()) << kind;
  }
}

// A number that is no kind's.
TEST(RecordTest, AKindThatIsNoneMakesNoRecord) {
  for (const std::uint8_t kind : {0, 1, 10, 11, 255}) {
    std::vector<std::byte> bytes = encoded({.event = record::Dropped{.slot = 0}});
    bytes[12] = std::byte{kind};
    const std::uint64_t checksum = checksum_of(std::span(bytes).subspan(8), kGeneration);
    std::memcpy(bytes.data(), &checksum, sizeof checksum);
    EXPECT_EQ(decode(bytes, kGeneration, kGeometry).has_value(), kind == 1 || kind == 10);
  }
}

// --- What a start makes of them ---

class ImpossibleRecordTest : public DurableStoreTest {
 protected:
  // Appends a record, which follows the last one, to the only journal there is.
  void append(const record::Event& event) {
    for (const std::string& name : disk_.names()) {
      if (!name.starts_with("journal.")) continue;
      const std::uint64_t generation = std::stoull(name.substr(8));
      std::vector<std::byte> content = disk_.content(name);
      const auto bytes = encoded({.event = event, .sequence = 2}, generation);
      content.insert(content.end(), bytes.begin(), bytes.end());
      disk_.replace(name, content);
    }
  }
};

// Of 2^32 slots: gigabytes would be needed for those before it.
TEST_F(ImpossibleRecordTest, ASlotThatNoSuchCacheHasIsRefusedByTheNameOfTheFile) {
  for (const Slot slot : {Slot{2U << 20U}, Slot{3U << 30U}, kNoSlot - 1, kNoSlot}) {
    record::Wrote wrote_it = wrote(1, 1, 1);
    wrote_it.slot = slot;
    for (const record::Event& event :
         {record::Event(wrote_it),
          record::Event(record::Zeroed{.slot = slot, .block = {1}, .pages = 1}),
          record::Event(record::Cleaned{.slot = slot, .pages = 1})}) {
      disk_ = SimulatedDisk();
      restart();
      put(0, 0, 1, true);
      store_->publish();
      append(event);
      std::string refusal;
      try {
        restart();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), EIO);
        refusal = error.what();
      }
      EXPECT_TRUE(contains(refusal, "journal.")) << refusal;
      EXPECT_TRUE(contains(refusal, fmt::format("slot {}", slot))) << refusal;
      restart(Damaged::salvage);
      EXPECT_EQ(pages_of(0).dirty, 1U);
    }
  }
}

TEST_F(ImpossibleRecordTest, ASlotOfZerosOnlyIsBelievedWithoutAnyData) {
  constexpr Slot kSlot = 1'000'000;
  take(kSlot);
  store_->zeroed(kSlot, {1}, store_->forget(kSlot, 1, 0), false);
  store_->publish();
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 1U);
}

TEST_F(ImpossibleRecordTest, TheJournalEndsBeforeIt) {
  const std::vector<record::Event> events{wrote(1, 0b0111, 0), wrote(kBlocks, 1, 1),
                                          record::ZerosAdded{{1, ~0ULL}, false}};
  for (const record::Event& event : events) {
    disk_ = SimulatedDisk();
    restart();
    put(0, 0, 1, true);
    store_->publish();
    append(event);
    restart();
    EXPECT_EQ(recovered_.blocks.size(), 1U);
    EXPECT_EQ(pages_of(0).dirty, 1U);
    EXPECT_TRUE(recovered_.zeros.empty());
  }
}

// --- Snapshots ---

// The header of one that has so many slots and ranges of zeros, and nothing behind it.
std::vector<std::byte> header(std::uint64_t slots, std::uint64_t zeros) {
  std::array<std::uint64_t, 8> words{0, 0x3158444953444e42, kGeneration, 7, slots, zeros, 32, 1};
  const auto bytes = std::as_bytes(std::span(words));
  words[0] = checksum_of(bytes.subspan(8), kGeneration);
  return {bytes.begin(), bytes.end()};
}

TEST(SnapshotTest, WhatEndsBeforeAllThatItAnnouncesIsDamagedOnce) {
  SimulatedDisk disk;
  disk.replace(snapshot_name(kGeneration), header(~std::uint64_t{0}, ~std::uint64_t{0}));
  SlotIndex index(kGeometry);
  std::vector<std::string> damage;
  const SnapshotState state = read_snapshot(*disk.directory(), kGeneration, index, damage);
  EXPECT_TRUE(state.readable);
  EXPECT_FALSE(state.intact);
  EXPECT_EQ(damage.size(), 2U);  // of slots, and of zeros
}

TEST(SnapshotTest, ASlotThatNoSuchCacheHasIsDamage) {
  SimulatedDisk disk;
  std::vector<std::byte> content = header(1, 0);
  std::array<std::uint32_t, 8> entry{};
  entry[7] = 1000;  // the slot
  const auto bytes = std::as_bytes(std::span(entry));
  const std::uint64_t checksum = checksum_of(bytes, kGeneration);
  content.resize(72);
  std::memcpy(&content[64], &checksum, sizeof checksum);
  content.insert(content.end(), bytes.begin(), bytes.end());
  disk.replace(snapshot_name(kGeneration), content);
  for (const Slot end : {1001U, 1000U}) {
    SlotIndex index(kGeometry);
    index.expect_slots_below(end);
    std::vector<std::string> damage;
    const bool intact = read_snapshot(*disk.directory(), kGeneration, index, damage).intact;
    EXPECT_EQ(intact, end > 1000);
    EXPECT_EQ(index.slots(), end > 1000 ? 1001U : 0U);
    EXPECT_EQ(damage.size(), end > 1000 ? 0U : 1U);
    for (const std::string& each : damage)
      EXPECT_TRUE(contains(each, "index.3 is damaged")) << each;
  }
}

TEST(SnapshotTest, ZerosBehindTheDiskAreNone) {
  SimulatedDisk disk;
  std::vector<std::byte> content = header(0, 1);
  const std::array<std::uint64_t, 3> entry{kBlock_bytes, ~std::uint64_t{0}, 0};
  const auto bytes = std::as_bytes(std::span(entry));
  const std::uint64_t checksum = checksum_of(bytes, kGeneration);
  content.resize(72);
  std::memcpy(&content[64], &checksum, sizeof checksum);
  content.insert(content.end(), bytes.begin(), bytes.end());
  disk.replace(snapshot_name(kGeneration), content);
  SlotIndex index(kGeometry);
  std::vector<std::string> damage;
  EXPECT_TRUE(read_snapshot(*disk.directory(), kGeneration, index, damage).intact);
  EXPECT_TRUE(index.zeros().empty());
}

}  // namespace
}  // namespace nbdstack::testing
