// The bytes of a cache directory: docs/formats/cache-directory.md describes them, and
// tests/vectors/cache-directory holds them. Today's store writes exactly these bytes for a fixed
// life, and it reads them as what they were. A vector is never changed: a store that writes
// something else has another format, and has to go on reading this one.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "filters/cache/store/durable/commit_note.hpp"
#include "filters/cache/store/durable/snapshot.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"
#include "tests/unit/fakes/golden.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

using Bytes = std::vector<std::byte>;

const std::string kPassphrase = "correct horse battery staple";

CacheIdentity identity() {
  return {.export_name = "disk one",
          .disk_size_bytes = 64 * 16384,
          .block_size_bytes = 16384,
          .cache_id = "shelf 100%",
          .disk_id = "nbdstack-s3:0f1e2d3c4b5a69788796a5b4c3d2e1f0",
          .term = 1234567890123,
          .alone = true};
}

// The text of an identity with another directory's uuid: the only thing in it that is random.
std::string with_uuid_of(std::string text, const std::string& other) {
  constexpr std::string_view kUuid = "uuid=";
  constexpr std::size_t kDigits = 32;
  const std::size_t from = other.find(kUuid) + kUuid.size();
  return text.replace(text.find(kUuid) + kUuid.size(), kDigits, other.substr(from, kDigits));
}

void put_golden_files(SimulatedDisk& disk, const std::string& name) {
  for (const auto& [file, content] : golden_directory(name)) disk.replace(file, content);
}

// Each file of the disk is as the vector of that name, and there are no others.
void expect_golden_files(const SimulatedDisk& disk, const std::string& name) {
  std::set<std::string> expected;
  for (const auto& [file, content] : golden_directory(name)) expected.insert(file);
  const auto names = disk.names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected) << name;
  for (const std::string& file : names) {
    expect_golden(name + "/" + file + (file == "identity" ? "" : ".hex"), disk.content(file));
  }
}

class CacheFormatTest : public DurableStoreTest {
 protected:
  CacheFormatTest() { begin(); }

  // A new directory and the store in it.
  void begin(const std::shared_ptr<const UnitCipher>& cipher = nullptr) {
    store_.reset();
    disk_ = SimulatedDisk();
    taken_.clear();
    open(cipher);
  }
  void open(const std::shared_ptr<const UnitCipher>& cipher = nullptr) {
    store_.reset();
    store_ =
        std::make_unique<DurableStore>(disk_.directory(), kBlock, kDisk, Damaged::refuse, cipher);
    recovered_ = store_->recover();
  }
  void open_golden(const std::string& name,
                   const std::shared_ptr<const UnitCipher>& cipher = nullptr) {
    store_.reset();
    disk_ = SimulatedDisk();
    put_golden_files(disk_, name);
    open(cipher);
  }

  // Every kind of record but `damaged`, two commits, pages in both files, and a tail that was
  // published only.
  void live() {
    put(0, 0, 0x11, true);
    put(0, 1, 0x12, false);
    store_->commit();
    put(0, 0, 0x13, true, 0b0011);  // to the other file: the committed one is dirty
    put(1, 2, 0x21, false);
    zero(2, 0b0011, 0);
    store_->zeros_added({8 * kBlock, 2 * kBlock}, true);
    store_->zeros_added({20 * kBlock, kBlock}, false);
    store_->commit();
    store_->cleaned(0, 0b0001);
    put(1, 2, 0x22, false, 0b0100);  // in place: its page is forgotten first
    put(3, 0, 0x31, true);
    put(3, 0, 0x32, true, 0b0001);  // in place, and dirty
    put(4, 1, 0x41, false);
    drop(4);
    store_->zeros_removed({8 * kBlock, kBlock});
    store_->publish();
  }
  void expect_life() {
    EXPECT_EQ(pages_of(0), (Pages{.valid = 0b0011}));
    EXPECT_EQ(pages_of(1), (Pages{.valid = 0b0100}));
    EXPECT_EQ(pages_of(2), (Pages{.valid = 0b0011, .dirty = 0b0011, .zero = 0b0011}));
    EXPECT_EQ(pages_of(3), (Pages{.valid = 0b0001, .dirty = 0b0001}));
    EXPECT_EQ(pages_of(4), Pages{});
    EXPECT_EQ(get(0, 0), 0x13);
    EXPECT_EQ(get(0, 1), 0x12);
    EXPECT_EQ(get(1, 2), 0x22);
    EXPECT_EQ(get(3, 0), 0x32);
    for (const RecoveredBlock& block : recovered_.blocks) {
      EXPECT_TRUE(store_->verify(block.slot, block.pages.stored())) << block.slot;
    }
    ASSERT_EQ(recovered_.zeros.size(), 2U);
    EXPECT_EQ(recovered_.zeros[0].range, (Range{9 * kBlock, kBlock}));
    EXPECT_TRUE(recovered_.zeros[0].may_trim);
    EXPECT_EQ(recovered_.zeros[1].range, (Range{20 * kBlock, kBlock}));
    EXPECT_FALSE(recovered_.zeros[1].may_trim);
    EXPECT_TRUE(logged_errors().empty());
  }
};

// --- A life ---

TEST_F(CacheFormatTest, ALifeLeavesTheBytesItAlwaysLeft) {
  live();
  store_.reset();
  expect_golden_files(disk_, "cache-directory/life");
}

TEST_F(CacheFormatTest, WhatALifeLeftIsRead) {
  open_golden("cache-directory/life");
  expect_life();
}

TEST_F(CacheFormatTest, AnOrderlyStopLeavesTheBytesItAlwaysLeft) {
  live();
  const std::vector<Slot> order{3, 0};
  store_->close(order);
  store_.reset();
  expect_golden_files(disk_, "cache-directory/stopped");
}

TEST_F(CacheFormatTest, WhatAnOrderlyStopLeftIsRead) {
  open_golden("cache-directory/stopped");
  ASSERT_FALSE(recovered_.blocks.empty());
  EXPECT_EQ(recovered_.blocks.front().slot, 3U);
  expect_life();
}

// --- A snapshot of blocks with more than 16 pages ---

constexpr std::uint32_t kWideBlock_bytes = 128U << 10U;
const BlockGeometry kWideGeometry(16 * kWideBlock_bytes, kWideBlock_bytes);

SlotIndex wide_index() {
  SlotIndex index(kWideGeometry);
  index.add(1, {.block = {9},
                .pages = {.valid = 0x80000007, .dirty = 0x80000002, .zero = 0x4, .hole = 0x4},
                .copies = 0x80000000,
                .checksum = 0x0123456789abcdef,
                .in_use = true});
  index.add_zeros({2 * kWideBlock_bytes, kWideBlock_bytes}, true);
  return index;
}

TEST(WideSnapshotTest, IsWrittenAsItAlwaysWas) {
  SimulatedDisk disk;
  write_snapshot(*disk.directory(), wide_index(), {}, 5, 4321);
  expect_golden("cache-directory/index-wide.hex", disk.content("index.5"));
}

TEST(WideSnapshotTest, IsReadAsItWasWritten) {
  SimulatedDisk disk;
  disk.replace("index.5", golden("cache-directory/index-wide.hex"));
  SlotIndex index(kWideGeometry);
  std::vector<std::string> damage;
  const SnapshotState state = read_snapshot(*disk.directory(), 5, index, damage);
  EXPECT_TRUE(state.intact);
  EXPECT_TRUE(state.has_note);
  EXPECT_EQ(state.sequence, 4321U);
  EXPECT_TRUE(damage.empty());
  const SlotIndex expected = wide_index();
  ASSERT_EQ(index.slots(), expected.slots());
  EXPECT_EQ(index[1].block.value, expected[1].block.value);
  EXPECT_EQ(index[1].pages, expected[1].pages);
  EXPECT_EQ(index[1].copies, expected[1].copies);
  EXPECT_EQ(index[1].checksum, expected[1].checksum);
  const auto zeros = index.zeros().overlapping({0, kWideGeometry.size_bytes()});
  ASSERT_EQ(zeros.size(), 1U);
  EXPECT_EQ(zeros.front().range, (Range{2 * kWideBlock_bytes, kWideBlock_bytes}));
  EXPECT_TRUE(zeros.front().value);
}

// Before there was a note of the last commit, the last number of the header was 0.
TEST(WideSnapshotTest, OfAnEarlierVersionIsRead) {
  SimulatedDisk disk;
  disk.replace("index.5", golden("cache-directory/index-without-note.hex"));
  SlotIndex index(kWideGeometry);
  std::vector<std::string> damage;
  const SnapshotState state = read_snapshot(*disk.directory(), 5, index, damage);
  EXPECT_TRUE(state.intact);
  EXPECT_FALSE(state.has_note);
  EXPECT_TRUE(damage.empty());
}

// --- The identity ---

class IdentityFormatTest : public ::testing::Test {
 protected:
  // What a directory that is taken into use for this says of itself.
  static std::string written(const CacheIdentity& identity) {
    SimulatedDisk disk;
    CacheDirectory(disk.directory()).record(identity);
    EXPECT_EQ(disk.content("identity").size() % 512, 0U);
    const Bytes bytes = disk.content("identity");
    std::string text(bytes.size(), '\0');
    std::transform(bytes.begin(), bytes.end(), text.begin(),
                   [](std::byte byte) { return std::to_integer<char>(byte); });
    return text;
  }
};

TEST_F(IdentityFormatTest, IsWrittenAsItAlwaysWas) {
  const std::string expected = golden_text("cache-directory/identity-2");
  expect_golden("cache-directory/identity-2", with_uuid_of(written(identity()), expected));
}

TEST_F(IdentityFormatTest, AFieldThatChangesChangesTheBytes) {
  const std::string expected = golden_text("cache-directory/identity-2");
  const std::vector<std::function<void(CacheIdentity&)>> changes{
      [](CacheIdentity& each) { each.export_name += "x"; },
      [](CacheIdentity& each) { ++each.disk_size_bytes; },
      [](CacheIdentity& each) { each.block_size_bytes *= 2; },
      [](CacheIdentity& each) { each.cache_id = ""; },
      [](CacheIdentity& each) { each.disk_id = ""; },
      [](CacheIdentity& each) { each.term.reset(); },
      [](CacheIdentity& each) { each.alone = false; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    CacheIdentity changed = identity();
    changes[i](changed);
    EXPECT_NE(with_uuid_of(written(changed), expected), expected) << "change " << i;
  }
}

TEST_F(IdentityFormatTest, IsReadAsItWasWritten) {
  EXPECT_EQ(parse_cache_identity(golden_text("cache-directory/identity-2")), identity());
}

TEST_F(IdentityFormatTest, OfTheFirstFormatIsRead) {
  CacheIdentity expected = identity();
  expected.disk_id = "";
  expected.term.reset();
  expected.alone = false;
  EXPECT_EQ(parse_cache_identity(golden_text("cache-directory/identity-1")), expected);
}

TEST_F(IdentityFormatTest, OfALaterFormatIsRefused) {
  std::string text = golden_text("cache-directory/identity-2");
  text.replace(text.find("format=2"), 8, "format=4");
  EXPECT_FALSE(parse_cache_identity(text));
}

// --- An encrypted directory ---

// tests/support/formats.py has wrapped the key of the vector, and not the code under test.
class EncryptedFormatTest : public CacheFormatTest {
 protected:
  static std::shared_ptr<const UnitCipher> golden_cipher() {
    SimulatedDisk disk;
    disk.replace("identity", golden("cache-directory/encrypted/identity"));
    return CacheDirectory(disk.directory()).unlock(kPassphrase, kCheapScrypt);
  }
  void live_encrypted() {
    put(0, 1, 0x51, true);
    store_->commit();
    put(0, 1, 0x52, true, 0b0010);
    store_->commit();
  }
};

TEST_F(EncryptedFormatTest, TheIdentityIsWrittenAsItWasRead) {
  const std::string expected = golden_text("cache-directory/encrypted/identity");
  const auto found = parse_cache_identity(expected);
  ASSERT_TRUE(found);
  ASSERT_TRUE(found->encryption);
  const std::string text = with_uuid_of(to_text(*found), expected);
  EXPECT_EQ(expected.substr(0, text.size()), text);
  EXPECT_EQ(expected.substr(text.size(), 4), "pad=");
}

TEST_F(EncryptedFormatTest, ALifeLeavesTheBytesItAlwaysLeft) {
  begin(golden_cipher());
  live_encrypted();
  store_.reset();
  disk_.replace("identity", golden("cache-directory/encrypted/identity"));
  expect_golden_files(disk_, "cache-directory/encrypted");
}

TEST_F(EncryptedFormatTest, WhatALifeLeftIsReadWithItsPassphrase) {
  open_golden("cache-directory/encrypted", golden_cipher());
  EXPECT_EQ(pages_of(0), (Pages{.valid = 0b0010, .dirty = 0b0010}));
  EXPECT_EQ(get(0, 1), 0x52);
}

}  // namespace
}  // namespace nbdstack::testing
