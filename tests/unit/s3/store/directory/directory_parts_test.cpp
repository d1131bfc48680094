// Parts of objects in a directory: verified wherever they lie, whichever version stored the object.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "tests/unit/s3/store/directory/directory_store_fixture.hpp"

namespace nbdstack {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::kTrailer_bytes;
using testing::pattern;

using DirectoryPartsTest = testing::DirectoryStoreFixture;

// A body of several pieces, of which the last one is short.
constexpr std::size_t kPieced = 200'000;
constexpr std::size_t kPiecedTail_bytes = 4 * 8 + kTrailer_bytes;

TEST_F(DirectoryPartsTest, PartsAreReadAndVerifiedWhereverTheyLie) {
  const Bytes body = pattern(kPieced, 1);
  put("a", body);
  EXPECT_EQ(fs::file_size(path_of("a")), kPieced + kPiecedTail_bytes);
  EXPECT_EQ(get("a", kPieced), body);
  EXPECT_EQ(store_.look_up("a")->checksum, ChecksumKind::pieces);
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const std::size_t offset = random() % kPieced;
    Bytes part(random() % (kPieced - offset + 1));
    ASSERT_TRUE(store_.get_range("a", part, {.offset = offset, .object_bytes = kPieced}));
    ASSERT_TRUE(std::equal(part.begin(), part.end(), body.begin() + offset));
  }
}

TEST_F(DirectoryPartsTest, WhateverBitOfAFileFlipsNoPartIsWrong) {
  const Bytes body = pattern(kPieced, 1);
  std::mt19937_64 random(5);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    put("a", body);
    // Half of the flips in what vouches for the body.
    const std::size_t at = i % 2 == 0 ? random() % kPieced : kPieced + random() % kPiecedTail_bytes;
    change_byte("a", at);
    const std::size_t offset = random() % kPieced;
    Bytes part(1 + random() % (kPieced - offset));
    try {
      ASSERT_TRUE(store_.get_range("a", part, {.offset = offset, .object_bytes = kPieced}));
      ASSERT_TRUE(std::equal(part.begin(), part.end(), body.begin() + offset)) << at;
      EXPECT_LT(at, kPieced);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
      ++refused;
    }
  }
  EXPECT_GT(refused, 150);
  EXPECT_LT(refused, 300);
}

TEST_F(DirectoryPartsTest, ADamagedPieceIsNamedAndItsNeighboursAreRead) {
  put("a", pattern(kPieced, 1));
  change_byte("a", 70'000);
  Bytes part(10);
  EXPECT_EQ(
      code_of([&] { store_.get_range("a", part, {.offset = 131'060, .object_bytes = kPieced}); },
              "65536 bytes at 65536"),
      EIO);
  EXPECT_TRUE(store_.get_range("a", part, {.offset = 131'072, .object_bytes = kPieced}));
  expect_damaged("a", kPieced);
}

// A trailer of version 1, which has a checksum of the whole alone.
std::string old_file_of(const Bytes& body) {
  std::string file(reinterpret_cast<const char*>(body.data()), body.size());
  std::string trailer = "nbdstack";
  const auto append = [](std::string& text, std::uint64_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(number >> (8 * i)));
  };
  append(trailer, 1, 8);
  append(trailer, body.size(), 8);
  const auto checksum = xxh3_128(body);
  trailer.append(reinterpret_cast<const char*>(checksum.data()), checksum.size());
  const auto check = xxh3_128(std::as_bytes(std::span(trailer)));
  trailer.append(reinterpret_cast<const char*>(check.data()), 8);
  return file + trailer;
}

TEST_F(DirectoryPartsTest, AFileOfAnOlderVersionIsReadAndEveryPartOfItVerified) {
  const Bytes body = pattern(kPieced, 1);
  write_file(path_of("old"), old_file_of(body));
  EXPECT_EQ(store_.look_up("old")->checksum, ChecksumKind::whole);
  EXPECT_EQ(get("old", kPieced), body);
  Bytes part(100);
  // Twice: by the whole, and by what that has taught.
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(store_.get_range("old", part, {.offset = 70'000, .object_bytes = kPieced}));
    EXPECT_TRUE(std::equal(part.begin(), part.end(), body.begin() + 70'000));
  }
  change_byte("old", 70'500);
  EXPECT_EQ(
      code_of([&] { store_.get_range("old", part, {.offset = 70'000, .object_bytes = kPieced}); },
              path_of("old")),
      EIO);
  auto fresh = open();
  EXPECT_EQ(code_of([&] { fresh.get_range("old", part, {.offset = 0, .object_bytes = kPieced}); },
                    path_of("old")),
            EIO);
}

TEST_F(DirectoryPartsTest, AShortFileHasTheTrailerThatOlderVersionsRead) {
  const Bytes body = pattern(4096, 1);
  put("a", body);
  std::ifstream file(path_of("a"), std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), old_file_of(body));
  EXPECT_EQ(store_.look_up("a")->checksum, ChecksumKind::pieces);
  change_byte("a", 4000);
  Bytes part(10);
  EXPECT_EQ(code_of([&] { store_.get_range("a", part, {.object_bytes = 4096}); }, path_of("a")),
            EIO);
}

TEST_F(DirectoryPartsTest, APartOfAFileThatWasReplacedOrChangedIsAnError) {
  write_file(path_of("image"), std::string(kPieced, 'a'));
  const std::string etag = store_.look_up("image")->etag;
  ASSERT_FALSE(etag.empty());
  const ObjectPart part{.offset = 10, .object_bytes = kPieced, .etag = etag};
  Bytes data(10);
  EXPECT_TRUE(store_.get_range("image", data, part));
  // In place, with the same length.
  change_byte("image", 150'000);
  fs::last_write_time(path_of("image"), fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(code_of([&] { store_.get_range("image", data, part); }, "restart the server"), EIO);
  // By another file of the same length and time.
  const auto time = fs::last_write_time(path_of("image"));
  const std::string etag_of_changed = store_.look_up("image")->etag;
  EXPECT_NE(etag_of_changed, etag);
  write_file(path_of("other"), std::string(kPieced, 'b'));
  fs::last_write_time(path_of("other"), time);
  fs::rename(path_of("other"), path_of("image"));
  ObjectPart of_changed = part;
  of_changed.etag = etag_of_changed;
  EXPECT_EQ(code_of([&] { store_.get_range("image", data, of_changed); }, path_of("image")), EIO);
}

}  // namespace
}  // namespace nbdstack
