#include "plugins/s3/layout/own/object_frame.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"

namespace nbdstack {
namespace {

using Bytes = std::vector<std::byte>;

constexpr FrameHeader kHeader{
    .compression = Compression::zstd, .cipher = Cipher::aes_256_gcm, .block_bytes = 0x01020304};

Bytes header_bytes() {
  const auto bytes = kHeader.to_bytes();
  return {bytes.begin(), bytes.end()};
}

std::string refusal_of(const Bytes& frame) {
  try {
    FrameHeader::parse(frame);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    return error.what();
  }
  return "";
}

std::string refusal_with(std::size_t offset, unsigned char value) {
  Bytes frame = header_bytes();
  frame[offset] = std::byte{value};
  return refusal_of(frame);
}

TEST(ObjectFrameTest, TheFormatOfTheHeaderDoesNotChangeUnnoticed) {
  EXPECT_EQ(to_hex(header_bytes()), "4e42444f424a01100201000001020304");
  EXPECT_EQ(
      to_hex(FrameHeader{.compression = Compression::deflate, .block_bytes = 4096}.to_bytes()),
      "4e42444f424a01100100000000001000");
  EXPECT_EQ(to_hex(FrameHeader{}.to_bytes()), "4e42444f424a01100000000000000000");
}

TEST(ObjectFrameTest, WhatIsWrittenIsReadBack) {
  for (const auto compression : {Compression::none, Compression::deflate, Compression::zstd}) {
    for (const auto cipher : {Cipher::none, Cipher::aes_256_gcm}) {
      const FrameHeader header{
          .compression = compression, .cipher = cipher, .block_bytes = 33554432};
      const auto bytes = header.to_bytes();
      EXPECT_TRUE(is_frame(bytes));
      EXPECT_EQ(FrameHeader::parse(bytes), header);
    }
  }
}

TEST(ObjectFrameTest, OnlyTheWholeMagicMakesAFrame) {
  EXPECT_FALSE(is_frame({}));
  Bytes frame = header_bytes();
  EXPECT_FALSE(is_frame(std::span(frame).first(5)));
  EXPECT_TRUE(is_frame(std::span(frame).first(6)));
  for (std::size_t i = 0; i < 6; ++i) {
    Bytes changed = frame;
    changed[i] ^= std::byte{1};
    EXPECT_FALSE(is_frame(changed)) << i;
  }
}

TEST(ObjectFrameTest, AnUnknownVersionIsNamedBeforeTheRestIsJudged) {
  Bytes frame = header_bytes();
  frame[6] = std::byte{2};
  frame[7] = std::byte{99};
  frame.resize(8);
  EXPECT_NE(refusal_of(frame).find("version 2"), std::string::npos);
  EXPECT_NE(refusal_with(6, 0), "");
}

TEST(ObjectFrameTest, WhatIsUnknownOrDamagedIsRefused) {
  EXPECT_NE(refusal_with(7, 17).find("damaged"), std::string::npos);
  EXPECT_NE(refusal_with(8, 3).find("compression 3"), std::string::npos);
  EXPECT_NE(refusal_with(9, 2).find("cipher 2"), std::string::npos);
  EXPECT_NE(refusal_with(10, 1).find("damaged"), std::string::npos);
  EXPECT_NE(refusal_with(11, 1).find("damaged"), std::string::npos);
}

TEST(ObjectFrameTest, AHeaderThatIsCutOffIsRefused) {
  for (std::size_t length = 6; length < kFrameHeader_bytes; ++length) {
    Bytes frame = header_bytes();
    frame.resize(length);
    EXPECT_NE(refusal_of(frame).find("cut off"), std::string::npos) << length;
  }
}

}  // namespace
}  // namespace nbdstack
