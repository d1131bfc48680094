// Checksums of pieces: which bytes they cover, what they notice, and what is no list of them.
#include "plugins/s3/store/piece_checksums.hpp"

#include <gtest/gtest.h>

#include <random>

#include "common/error.hpp"
#include "common/hash/base64.hpp"
#include "plugins/s3/store/learned_pieces.hpp"
#include "plugins/s3/store/part_read.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack {
namespace {

using testing::pattern;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

PieceChecksums pieces_of(const Bytes& object) {
  return PieceChecksums::of(object).value();
}

std::string refusal_of(const std::string& text, std::uint64_t object_bytes) {
  try {
    PieceChecksums::parse_text(text, object_bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    return error.what();
  }
  return "";
}

TEST(PieceChecksumsTest, PiecesGrowWithTheObjectSoThatAListFitsIntoMetadata) {
  EXPECT_EQ(PieceChecksums::piece_bytes_of(0), std::nullopt);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(64 * kKiB), std::nullopt);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(64 * kKiB + 1), 64 * kKiB);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(kMiB), 64 * kKiB);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(8 * kMiB), 64 * kKiB);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(8 * kMiB + 1), 128 * kKiB);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(32 * kMiB), 256 * kKiB);
  EXPECT_EQ(PieceChecksums::piece_bytes_of(32 * kMiB + 1), std::nullopt);
  for (const std::uint64_t size : {8 * kMiB, 32 * kMiB}) {
    // S3 counts names and values, and there is another checksum and what the user may add.
    EXPECT_LT(pieces_of(Bytes(size)).to_text().size(), 1500U);
  }
}

TEST(PieceChecksumsTest, AReadIsWidenedToPiecesAndNeverBeyondTheObject) {
  const std::uint64_t size = 200 * kKiB + 5;
  EXPECT_EQ(PieceChecksums::widened({64 * kKiB, 64 * kKiB}, size), (Range{64 * kKiB, 64 * kKiB}));
  EXPECT_EQ(PieceChecksums::widened({64 * kKiB - 1, 2}, size), (Range{0, 128 * kKiB}));
  EXPECT_EQ(PieceChecksums::widened({200 * kKiB, 1}, size), (Range{192 * kKiB, 8 * kKiB + 5}));
  EXPECT_EQ(PieceChecksums::widened({10, 1}, 4096), (Range{0, 4096}));
  EXPECT_EQ(PieceChecksums::widened({10, 1}, 33 * kMiB), (Range{10, 1}));
}

TEST(PieceChecksumsTest, TextAndBytesComeBackAsTheyWere) {
  for (const std::uint64_t size : {64 * kKiB + 1, 100'000 * 3UL, kMiB, 9 * kMiB + 7}) {
    const PieceChecksums pieces = pieces_of(pattern(size, 1));
    EXPECT_EQ(PieceChecksums::parse_text(pieces.to_text(), size), pieces);
    EXPECT_EQ(PieceChecksums::parse_bytes(pieces.to_bytes(), pieces.piece_bytes(), size), pieces);
  }
}

TEST(PieceChecksumsTest, TheListOfAnObjectStaysWhatItIs) {
  // The format is stored with objects: another version of this program must make the same of it.
  Bytes object(64 * kKiB + 3, std::byte{0});
  object.back() = std::byte{1};
  EXPECT_EQ(pieces_of(object).to_text(), "1:65536:65539:M7IC0wK2XKpKCWL+aMiXKg==");
}

TEST(PieceChecksumsTest, AnyFlippedBitIsNoticedInItsPieceAndOnlyThere) {
  std::mt19937_64 random(7);
  const std::uint64_t size = 300'001;
  const Bytes good = pattern(size, 1);
  const PieceChecksums pieces = pieces_of(good);
  for (int i = 0; i < 200; ++i) {
    Bytes bad = good;
    const std::uint64_t at = random() % size;
    bad[at] ^= std::byte{1} << random() % 8;
    EXPECT_TRUE(pieces.fault_in(bad, 0).has_value());
    for (std::uint64_t begin = 0; begin < size; begin += 64 * kKiB) {
      const auto content =
          std::span(bad).subspan(begin, std::min<std::uint64_t>(64 * kKiB, size - begin));
      EXPECT_EQ(pieces.fault_in(content, begin).has_value(),
                at >= begin && at < begin + content.size());
    }
  }
}

TEST(PieceChecksumsTest, AFaultNamesThePieceAndBothChecksums) {
  Bytes object = pattern(kMiB, 1);
  const PieceChecksums pieces = pieces_of(object);
  object[200'000] ^= std::byte{1};
  const std::string fault = pieces.fault_in(object, 0).value();
  EXPECT_NE(fault.find("its 65536 bytes at 196608 is"), std::string::npos) << fault;
}

TEST(PieceChecksumsTest, APieceInAnothersPlaceIsNoticed) {
  Bytes object(256 * kKiB, std::byte{0});
  const PieceChecksums equal = pieces_of(object);
  EXPECT_NE(equal.to_bytes()[0], equal.to_bytes()[8]) << "equal pieces at different places";
  const auto second = pattern(64 * kKiB, 2);
  std::copy(second.begin(), second.end(), object.begin() + 64 * kKiB);
  const PieceChecksums pieces = pieces_of(object);
  std::swap_ranges(object.begin(), object.begin() + 64 * kKiB, object.begin() + 64 * kKiB);
  EXPECT_TRUE(pieces.fault_in(std::span(object).first(64 * kKiB), 0).has_value());
  EXPECT_TRUE(pieces.fault_in(std::span(object).subspan(64 * kKiB, 64 * kKiB), 64 * kKiB));
}

TEST(PieceChecksumsTest, WhatIsNoWholePieceCannotBeVerified) {
  const Bytes object = pattern(200 * kKiB, 1);
  const PieceChecksums pieces = pieces_of(object);
  const std::span<const std::byte> whole(object);
  EXPECT_THROW((void)pieces.fault_in(whole.first(100), 0), Error);
  EXPECT_THROW((void)pieces.fault_in(whole.subspan(1), 1), Error);
  EXPECT_THROW((void)pieces.fault_in(whole.first(64 * kKiB), 192 * kKiB), Error);
  EXPECT_THROW((void)pieces.fault_in({}, 0), Error);
}

TEST(PieceChecksumsTest, AListThatDoesNotBelongToTheObjectIsAnError) {
  const PieceChecksums pieces = pieces_of(pattern(kMiB, 1));
  const std::string good = pieces.to_text();
  const std::string list = good.substr(good.rfind(':') + 1);
  EXPECT_EQ(refusal_of(good, kMiB), "");
  EXPECT_NE(refusal_of(good, kMiB - 1), "") << "another length";
  EXPECT_NE(refusal_of("1:131072:1048576:" + list, kMiB), "") << "pieces of another length";
  Bytes bytes = pieces.to_bytes();
  bytes.resize(15 * 8);
  EXPECT_NE(refusal_of("1:65536:1048576:" + to_base64(bytes), kMiB), "") << "one less";
  bytes.resize(17 * 8);
  EXPECT_NE(refusal_of("1:65536:1048576:" + to_base64(bytes), kMiB), "") << "one more";
  for (const char* bad : {"", ":", "1", "1:65536:1048576:", "x:65536:1048576:AAAA", "1:65536:AAAA",
                          "1::1048576:AAAA", "1:-65536:1048576:AAAA", "1:65536:1048576:!!!!"}) {
    EXPECT_NE(refusal_of(bad, kMiB), "") << bad;
  }
  EXPECT_NE(refusal_of("2:65536:1048576:" + list, kMiB).find("newer nbdstack"), std::string::npos);
  EXPECT_NE(refusal_of("1:65536:65536:AAAAAAAAAAA=", 64 * kKiB), "") << "of an object of one piece";
}

TEST(PieceChecksumsTest, OldObjectsPiecesAreRememberedWithinABound) {
  LearnedPieces learned(/*pieces_max=*/16 + 4);
  const PieceChecksums large = pieces_of(pattern(kMiB, 1));
  const PieceChecksums small = pieces_of(pattern(256 * kKiB, 2));
  learned.learn("large", large);
  learned.learn("small", small);
  learned.learn("small", small);
  ASSERT_NE(learned.find("large"), nullptr);
  EXPECT_EQ(*learned.find("large"), large);
  learned.learn("third", small);
  EXPECT_EQ(learned.find("large"), nullptr);
  EXPECT_NE(learned.find("small"), nullptr);
  EXPECT_NE(learned.find("third"), nullptr);
}

TEST(PieceChecksumsTest, APartBeyondTheObjectIsRefused) {
  Bytes target(100);
  EXPECT_THROW(PartRead(target, {.offset = 4000, .object_bytes = 4096}), Error);
  EXPECT_THROW(PartRead(target, {.offset = 5000, .object_bytes = 4096}), Error);
  EXPECT_THROW(PartRead(target, {.offset = ~std::uint64_t{0}, .object_bytes = kMiB}), Error);
}

TEST(Base64Test, OnlyWhatIsMadeIsRead) {
  for (std::size_t size = 0; size < 20; ++size) {
    const Bytes bytes = pattern(size, 3);
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  EXPECT_EQ(to_base64(std::as_bytes(std::span("Ma", 2))), "TWE=");
  for (const char* bad : {"TWE", "TWE= ", " TWE=", "TWF=", "T===", "====", "TW\nE", "TWE=TWE="}) {
    EXPECT_EQ(from_base64(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace nbdstack
