#include "plugins/s3/layout/coding/compression.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

using testing::contains;
using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t size) {
  std::mt19937 random(1);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

Bytes text_bytes(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>("block "[i % 6]);
  return bytes;
}

// What decompress() says about a body that it must refuse.
std::string refusal_of(Compression method, const Bytes& body, std::size_t size) {
  Bytes data(size);
  try {
    decompress(method, body, data);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    return error.what();
  }
  return "";
}

class EachMethod : public ::testing::TestWithParam<Compression> {};

TEST_P(EachMethod, WhatIsCompressedComesBack) {
  for (const std::size_t size : {1U, 512U, 4096U, 1024U * 1024U}) {
    for (const Bytes& data : {random_bytes(size), text_bytes(size), Bytes(size)}) {
      const Bytes body = compress(GetParam(), 0, data);
      EXPECT_LE(body.size(), compressed_bytes_max(GetParam(), size));
      Bytes back(size);
      decompress(GetParam(), body, back);
      EXPECT_EQ(back, data);
    }
  }
}

TEST_P(EachMethod, TheSameDataBecomeTheSameBytesInEveryThread) {
  const Bytes data = text_bytes(65536);
  const Bytes first = compress(GetParam(), 0, data);
  (void)compress(GetParam(), 0, random_bytes(4096));  // which must leave nothing behind
  EXPECT_EQ(compress(GetParam(), 0, data), first);
  Bytes elsewhere;
  std::thread([&] { elsewhere = compress(GetParam(), 0, data); }).join();
  EXPECT_EQ(elsewhere, first);
}

TEST_P(EachMethod, EveryLengthButTheRightOneIsRefused) {
  const Bytes body = compress(GetParam(), 0, text_bytes(4096));
  for (const std::size_t size : {1U, 4095U, 4097U, 65536U}) {
    const std::string refusal = refusal_of(GetParam(), body, size);
    EXPECT_TRUE(contains(refusal, std::to_string(size))) << size << ": " << refusal;
  }
}

TEST_P(EachMethod, EveryBodyThatIsCutShortIsRefused) {
  const Bytes body = compress(GetParam(), 0, random_bytes(600));
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_NE(refusal_of(GetParam(), {body.begin(), body.begin() + size}, 600), "") << size;
  }
}

TEST_P(EachMethod, WhatFollowsTheEndIsRefused) {
  for (const std::size_t surplus : {1U, 3U, 100U}) {
    Bytes body = compress(GetParam(), 0, text_bytes(4096));
    body.resize(body.size() + surplus);
    EXPECT_NE(refusal_of(GetParam(), body, 4096), "") << surplus;
  }
}

TEST_P(EachMethod, AContextThatMetADamagedBodyServesTheNextOne) {
  Bytes data(4096);
  EXPECT_THROW(decompress(GetParam(), Bytes(5), data), Error);
  decompress(GetParam(), compress(GetParam(), 0, text_bytes(4096)), data);
  EXPECT_EQ(data, text_bytes(4096));
}

TEST_P(EachMethod, NamesAreParsedAsTheyArePrinted) {
  EXPECT_EQ(parse_compression(to_string(GetParam())), GetParam());
}

INSTANTIATE_TEST_SUITE_P(CompressionTest, EachMethod,
                         ::testing::Values(Compression::none, Compression::deflate,
                                           Compression::zstd),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

TEST(CompressionTest, TheReasonSaysWhatIsWrong) {
  const Bytes deflated = compress(Compression::deflate, 0, text_bytes(4096));
  EXPECT_TRUE(
      contains(refusal_of(Compression::deflate, {deflated.begin(), deflated.end() - 1}, 4096),
               "ends early"));
  EXPECT_TRUE(contains(refusal_of(Compression::deflate, deflated, 100), "decodes to more bytes"));
  EXPECT_TRUE(contains(refusal_of(Compression::deflate, deflated, 5000), "decodes to 4096 bytes"));
  Bytes longer = deflated;
  longer.resize(longer.size() + 2);
  EXPECT_TRUE(contains(refusal_of(Compression::deflate, longer, 4096), "2 bytes follow its end"));
  Bytes altered = deflated;
  altered.back() ^= std::byte{1};
  EXPECT_TRUE(contains(refusal_of(Compression::deflate, altered, 4096), "incorrect data check"));
  // FDICT set, and a check of the header that fits.
  EXPECT_TRUE(contains(refusal_of(Compression::deflate,
                                  {std::byte{0x78}, std::byte{0xbb}, std::byte{0}, std::byte{0},
                                   std::byte{0}, std::byte{1}},
                                  4096),
                       "dictionary"));

  const Bytes zstd = compress(Compression::zstd, 0, text_bytes(4096));
  EXPECT_TRUE(contains(refusal_of(Compression::zstd, zstd, 100), "decodes to more bytes"));
  EXPECT_TRUE(contains(refusal_of(Compression::zstd, zstd, 5000), "decodes to 4096 bytes"));
  EXPECT_TRUE(contains(refusal_of(Compression::zstd, deflated, 4096), "Unknown frame"));
}

TEST(CompressionTest, ABombIsStoppedAtTheBlocksEnd) {
  for (const Compression method : {Compression::deflate, Compression::zstd}) {
    const Bytes body = compress(method, 0, Bytes(64UL * 1024 * 1024));
    ASSERT_LT(body.size(), 100000U);
    // Behind the block lies what must stay as it is.
    Bytes place(4096 + 64, std::byte{0x5a});
    EXPECT_THROW(decompress(method, body, std::span(place).first(4096)), Error);
    EXPECT_TRUE(std::all_of(place.begin() + 4096, place.end(),
                            [](std::byte byte) { return byte == std::byte{0x5a}; }));
  }
}

TEST(CompressionTest, SeveralZstdFramesAreOneStream) {
  Bytes body = compress(Compression::zstd, 0, text_bytes(600));
  const Bytes second = compress(Compression::zstd, 0, random_bytes(424));
  body.insert(body.end(), second.begin(), second.end());
  Bytes data(1024);
  decompress(Compression::zstd, body, data);
  EXPECT_TRUE(std::equal(data.begin(), data.begin() + 600, text_bytes(600).begin()));
  EXPECT_TRUE(std::equal(data.begin() + 600, data.end(), random_bytes(424).begin()));
}

TEST(CompressionTest, LevelsAreThoseOfTheLibraries) {
  EXPECT_TRUE(is_valid_level(Compression::none, 0));
  EXPECT_FALSE(is_valid_level(Compression::none, 1));
  EXPECT_FALSE(is_valid_level(Compression::deflate, -1));
  EXPECT_TRUE(is_valid_level(Compression::deflate, 0));
  EXPECT_TRUE(is_valid_level(Compression::deflate, 9));
  EXPECT_FALSE(is_valid_level(Compression::deflate, 10));
  EXPECT_TRUE(is_valid_level(Compression::zstd, -5));
  EXPECT_TRUE(is_valid_level(Compression::zstd, 22));
  EXPECT_FALSE(is_valid_level(Compression::zstd, 23));
}

TEST(CompressionTest, TheLevelCounts) {
  // Text whose repetitions lie at distances that a low level does not search.
  Bytes data;
  for (int i = 0; i < 3000; ++i) {
    const std::string line = std::to_string(i * 7919 % 1000) + " lines of " + std::to_string(i);
    std::transform(line.begin(), line.end(), std::back_inserter(data),
                   [](char c) { return static_cast<std::byte>(c); });
  }
  EXPECT_LT(compress(Compression::deflate, 9, data).size(),
            compress(Compression::deflate, 1, data).size());
  EXPECT_LT(compress(Compression::zstd, 19, data).size(),
            compress(Compression::zstd, -5, data).size());
}

TEST(CompressionTest, OtherNamesAreNone) {
  for (const char* name : {"", "gzip", "Deflate", "zstd ", "lz4"}) {
    EXPECT_EQ(parse_compression(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace nbdstack
