#include "plugins/s3/layout/own/own_format.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

using testing::contains;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kBlock_bytes = 4096;
constexpr BlockNumber kBlock{0x123456789a};
constexpr const char* kName = "disk/000000123456789a";
constexpr const char* kVolumeId = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

// Written by a program in another language, from the descriptions in object_frame.hpp and
// sealing.hpp: "nbdstack" 512 times as block 0x123456789a under the key 00 01 02 ... 1f.
constexpr std::string_view kSealedVector =
    "4e42444f424a01100101000000001000a0a1a2a3a4a5a6a7a8a9aaaba522a96f5d885d4f7ab60010"
    "b5cf01afbfcfa49ce0e3e4a00e4a971df923274b0641ff10c185ad3977bc0cd3ff9f03dbfd01dd8f"
    "6df9c7";
// The same, compressed and not encrypted.
constexpr std::string_view kCompressedVector =
    "4e42444f424a01100100000000001000789cedc5b10d00200800b05b11361216f93ffe61daa573ea"
    "6e648f6ddbb66ddbfef60787ba945b6dd12545574d74b9ccfe93bc83eedd75";

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(
        static_cast<std::byte>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

Bytes compressible() {
  constexpr std::string_view kText = "nbdstack";
  Bytes data(kBlock_bytes);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::byte(kText[i % kText.size()]);
  return data;
}

Bytes incompressible() {
  std::mt19937 random(1);
  Bytes data(kBlock_bytes);
  for (auto& each : data) each = static_cast<std::byte>(random());
  return data;
}

SecretKey counting_key() {
  SecretKey key;
  for (std::size_t i = 0; i < SecretKey::kBytes; ++i) key.buffer()[i] = static_cast<std::byte>(i);
  return key;
}

OwnFormatSettings settings_of(Compression compression = Compression::none) {
  OwnFormatSettings settings;
  settings.key = "disk";
  settings.object_size = kBlock_bytes;
  settings.volume_id = kVolumeId;
  settings.compression = compression;
  settings.framed = true;
  return settings;
}

OwnFormat open_format(Compression compression = Compression::none) {
  return OwnFormat(settings_of(compression));
}

OwnFormat sealed_format(Compression compression = Compression::none,
                        const std::string& volume_id = kVolumeId) {
  OwnFormatSettings settings = settings_of(compression);
  settings.volume_id = volume_id;
  settings.volume_key = counting_key();
  return OwnFormat(std::move(settings));
}

Bytes encoded(const OwnFormat& format, const Bytes& data, BlockNumber block = kBlock) {
  const EncodedBlock object = format.encode(block, data);
  return {object.body.begin(), object.body.end()};
}

Bytes decoded(const OwnFormat& format, const Bytes& body, BlockNumber block = kBlock) {
  Bytes data(kBlock_bytes, std::byte{0xee});
  format.decode(block, body, {}, data);
  return data;
}

// The reason for which an object is refused, without its name; nothing of it is shown.
std::string refusal_of(const OwnFormat& format, const Bytes& body, BlockNumber block = kBlock) {
  Bytes data(kBlock_bytes, std::byte{0xee});
  try {
    format.decode(block, body, {}, data);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_TRUE(std::string_view(error.what()).starts_with(format.name_of(block) + ": "));
    EXPECT_EQ(data, Bytes(kBlock_bytes));
    return error.what();
  }
  return "";
}

// Replaces the checksum of a compressed frame, so that what lies behind it is reached.
Bytes with_checksum(Bytes frame) {
  const auto checksum = xxh3_128(std::span(frame).first(frame.size() - kFrameChecksum_bytes));
  std::copy(checksum.begin(), checksum.end(), frame.end() - kFrameChecksum_bytes);
  return frame;
}

constexpr Compression kAllMethods[] = {Compression::none, Compression::deflate, Compression::zstd};

TEST(OwnFormatTest, NamesAreThoseOfNbdkitsOwnPlugin) {
  const OwnFormat format = open_format();
  EXPECT_EQ(format.prefix(), "disk/");
  EXPECT_EQ(format.name_of(kBlock), kName);
  EXPECT_EQ(format.parse_name(kName), kBlock);
  EXPECT_EQ(format.parse_name("disk/nbdstack-volume.json"), std::nullopt);
  EXPECT_TRUE(format.names_are_ordered());
  EXPECT_FALSE(format.removes_zeros());

  OwnFormatSettings settings = settings_of();
  settings.key = "";
  const OwnFormat without_key(std::move(settings));
  EXPECT_EQ(without_key.prefix(), "");
  EXPECT_EQ(without_key.name_of({1}), "0000000000000001");
}

TEST(OwnFormatTest, OnlyAVolumeWithoutFramesIsPlain) {
  OwnFormatSettings settings = settings_of();
  settings.framed = false;
  EXPECT_TRUE(OwnFormat(std::move(settings)).is_plain());
  EXPECT_FALSE(open_format().is_plain());
  EXPECT_FALSE(sealed_format().is_plain());
}

TEST(OwnFormatTest, NothingIsCodedInAVolumeWhoseDescriptorDoesNotSaySo) {
  OwnFormatSettings compressing = settings_of(Compression::zstd);
  compressing.framed = false;
  EXPECT_THROW(OwnFormat(std::move(compressing)), Error);
  OwnFormatSettings encrypting = settings_of();
  encrypting.framed = false;
  encrypting.volume_key = counting_key();
  EXPECT_THROW(OwnFormat(std::move(encrypting)), Error);
}

TEST(OwnFormatTest, APlainBlockIsNotCopied) {
  const Bytes data = compressible();
  const EncodedBlock object = open_format().encode(kBlock, data);
  EXPECT_EQ(object.body.data(), data.data());
  EXPECT_EQ(object.body.size(), data.size());
  EXPECT_EQ(decoded(open_format(), data), data);
}

TEST(OwnFormatTest, PlainObjectsAreRecognisedByTheirLength) {
  EXPECT_TRUE(open_format().is_stored_plain({.size_bytes = kBlock_bytes}));
  EXPECT_FALSE(open_format().is_stored_plain({.size_bytes = kBlock_bytes - 1}));
  EXPECT_FALSE(sealed_format().is_stored_plain({.size_bytes = kBlock_bytes}));
}

TEST(OwnFormatTest, EachMethodIsReadWhateverTheSettings) {
  const Bytes data = compressible();
  for (const Compression written : kAllMethods) {
    const Bytes open_object = encoded(open_format(written), data);
    const Bytes sealed_object = encoded(sealed_format(written), data);
    EXPECT_EQ(open_object.size() < kBlock_bytes, written != Compression::none);
    EXPECT_EQ(sealed_object.size() < kBlock_bytes, written != Compression::none);
    for (const Compression set : kAllMethods) {
      EXPECT_EQ(decoded(open_format(set), open_object), data);
      EXPECT_EQ(decoded(sealed_format(set), sealed_object), data);
    }
  }
}

TEST(OwnFormatTest, WhatDoesNotShrinkIsStoredAsItIs) {
  const Bytes data = incompressible();
  for (const Compression method : kAllMethods) {
    EXPECT_EQ(encoded(open_format(method), data), data);
    const OwnFormat sealed = sealed_format(method);
    const Bytes object = encoded(sealed, data);
    EXPECT_EQ(object.size(), data.size() + sealed.overhead_bytes());
    EXPECT_EQ(FrameHeader::parse(object).compression, Compression::none);
    EXPECT_EQ(decoded(sealed, object), data);
  }
  EXPECT_EQ(open_format().overhead_bytes(), 0U);
}

TEST(OwnFormatTest, ABlockThatLooksLikeAFrameIsABlock) {
  Bytes data = incompressible();
  const Bytes frame = encoded(open_format(Compression::zstd), compressible());
  std::copy(frame.begin(), frame.end(), data.begin());
  EXPECT_EQ(decoded(open_format(), encoded(open_format(), data)), data);
  EXPECT_EQ(decoded(sealed_format(), encoded(sealed_format(), data)), data);
}

TEST(OwnFormatTest, TheFormatsOnDiskDoNotChangeUnnoticed) {
  EXPECT_EQ(decoded(sealed_format(), from_hex(kSealedVector)), compressible());
  EXPECT_EQ(decoded(open_format(), from_hex(kCompressedVector)), compressible());
}

TEST(OwnFormatTest, EveryChangedBitIsNoticed) {
  const OwnFormat formats[] = {open_format(), sealed_format()};
  const Bytes objects[] = {from_hex(kCompressedVector), from_hex(kSealedVector)};
  for (std::size_t which = 0; which < 2; ++which) {
    for (std::size_t bit = 0; bit < objects[which].size() * 8; ++bit) {
      Bytes changed = objects[which];
      changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      EXPECT_NE(refusal_of(formats[which], changed), "") << which << ", bit " << bit;
    }
  }
}

TEST(OwnFormatTest, EveryOtherLengthIsNoticed) {
  const OwnFormat formats[] = {open_format(), sealed_format()};
  const Bytes objects[] = {from_hex(kCompressedVector), from_hex(kSealedVector)};
  for (std::size_t which = 0; which < 2; ++which) {
    for (std::size_t length = 0; length < objects[which].size() + 3; ++length) {
      if (length == objects[which].size()) continue;
      Bytes changed = objects[which];
      changed.resize(length);
      EXPECT_NE(refusal_of(formats[which], changed), "") << which << ", length " << length;
    }
  }
}

TEST(OwnFormatTest, APlainBlockOfAnotherLengthIsRefused) {
  EXPECT_TRUE(contains(refusal_of(open_format(), Bytes(kBlock_bytes - 1)), "4095 bytes long"));
  EXPECT_TRUE(contains(refusal_of(open_format(), Bytes(kBlock_bytes + 1)), "4097 bytes long"));
}

TEST(OwnFormatTest, AnObjectInAnotherBlocksPlaceIsRefused) {
  const OwnFormat format = sealed_format(Compression::zstd);
  const Bytes object = encoded(format, compressible(), {1});
  EXPECT_TRUE(contains(refusal_of(format, object, {2}), "put here from elsewhere"));
  EXPECT_EQ(decoded(format, object, {1}), compressible());
}

TEST(OwnFormatTest, AnObjectOfAnotherVolumeIsRefused) {
  const Bytes object = encoded(sealed_format(), compressible());
  EXPECT_TRUE(contains(refusal_of(sealed_format(Compression::none, "another"), object),
                       "put here from elsewhere"));
}

TEST(OwnFormatTest, AnEncryptedVolumeRefusesWhatIsNotSealed) {
  const OwnFormat format = sealed_format();
  EXPECT_TRUE(contains(refusal_of(format, compressible()), "not encrypted"));
  EXPECT_TRUE(contains(refusal_of(format, Bytes{}), "not encrypted"));
  EXPECT_TRUE(contains(refusal_of(format, from_hex(kCompressedVector)), "not encrypted"));
  // As long as a sealed frame, too.
  EXPECT_TRUE(
      contains(refusal_of(format, Bytes(kBlock_bytes + format.overhead_bytes())), "not encrypted"));
}

TEST(OwnFormatTest, AnUnencryptedVolumeSaysThatAnObjectIsSealed) {
  EXPECT_TRUE(contains(refusal_of(open_format(), from_hex(kSealedVector)),
                       "the object is encrypted, but this volume is not"));
}

TEST(OwnFormatTest, AFrameInAVolumeThatShouldHaveNoneIsRefused) {
  OwnFormatSettings settings = settings_of();
  settings.framed = false;
  const OwnFormat plain(std::move(settings));
  EXPECT_TRUE(contains(refusal_of(plain, from_hex(kCompressedVector)), "open it again"));
}

TEST(OwnFormatTest, AFrameOfAnotherObjectSizeIsRefused) {
  Bytes frame = from_hex(kCompressedVector);
  frame[14] = std::byte{0x20};
  EXPECT_TRUE(contains(refusal_of(open_format(), with_checksum(frame)), "8192 bytes"));
}

TEST(OwnFormatTest, AFrameOfAnUnknownVersionIsNamed) {
  Bytes frame = from_hex(kCompressedVector);
  frame[6] = std::byte{9};
  EXPECT_TRUE(contains(refusal_of(open_format(), with_checksum(frame)), "version 9"));
}

// Frames whose contents are more or less than a block, and in order otherwise.
TEST(OwnFormatTest, AFrameThatHoldsMoreOrLessThanABlockIsRefused) {
  for (const Compression method : kAllMethods) {
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, kBlock_bytes - std::size_t{1},
                                     kBlock_bytes + std::size_t{1}, std::size_t{64} << 20U}) {
      if (method == Compression::none && length > kBlock_bytes + 1) continue;
      const Bytes text = compress(method, 0, Bytes(length));
      FrameHeader header{.compression = method, .block_bytes = kBlock_bytes};
      const auto open_header = header.to_bytes();
      Bytes frame(open_header.begin(), open_header.end());
      frame.insert(frame.end(), text.begin(), text.end());
      frame.resize(frame.size() + kFrameChecksum_bytes);
      if (frame.size() != kBlock_bytes) {
        EXPECT_NE(refusal_of(open_format(), with_checksum(frame)), "") << length;
      }
      header.cipher = Cipher::aes_256_gcm;
      const auto sealed_header = header.to_bytes();
      Bytes sealed(sealed_header.begin(), sealed_header.end());
      sealed.resize(sealed.size() + text.size() + kSealing_bytes);
      const BlockSealer sealer(counting_key(), kVolumeId);
      sealer.seal(kBlock, sealed_header, text, std::span(sealed).subspan(kFrameHeader_bytes));
      EXPECT_NE(refusal_of(sealed_format(), sealed), "") << length;
    }
  }
}

TEST(OwnFormatTest, OneFormatServesManyThreads) {
  const OwnFormat format = sealed_format(Compression::zstd);
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&format, thread] {
      for (std::uint64_t i = 0; i < 50; ++i) {
        const BlockNumber block{thread * 50 + i};
        const Bytes data = i % 2 == 0 ? compressible() : incompressible();
        EXPECT_EQ(decoded(format, encoded(format, data, block), block), data);
      }
    });
  }
  for (auto& each : threads) each.join();
}

TEST(OwnFormatTest, EachWriteIsSealedAnew) {
  const OwnFormat format = sealed_format();
  EXPECT_NE(encoded(format, compressible()), encoded(format, compressible()));
}

OwnFormat format_of(const VolumeDescriptor& descriptor, SecretKey key) {
  OwnFormatSettings settings = settings_of(Compression::zstd);
  settings.volume_id = descriptor.id;
  settings.framed = descriptor.framed;
  settings.volume_key = std::move(key);
  return OwnFormat(std::move(settings));
}

TEST(OwnFormatTest, ANewPassphraseAndANewSizeLeaveObjectsReadable) {
  auto descriptor = VolumeDescriptor::make(1U << 20U, kBlock_bytes);
  const Bytes object = encoded(
      format_of(descriptor, descriptor.encrypt("old", testing::kCheapScrypt)), compressible());

  std::optional<SecretKey> key = descriptor.unlock("old", "x");
  descriptor.change_passphrase(*key, "new", testing::kCheapScrypt);
  descriptor.resize(1U << 30U, key);

  const auto read = VolumeDescriptor::parse(descriptor.to_json(), "x");
  EXPECT_EQ(decoded(format_of(read, read.unlock("new", "x")), object), compressible());
}

TEST(OwnFormatTest, ALargestBlockGoesThereAndBack) {
  OwnFormatSettings settings = settings_of(Compression::deflate);
  settings.object_size = 32U << 20U;
  settings.level = 1;
  settings.volume_key = counting_key();
  const OwnFormat format(std::move(settings));
  Bytes data(32U << 20U);
  data.back() = std::byte{1};
  const EncodedBlock object = format.encode({0}, data);
  Bytes read(data.size(), std::byte{0xff});
  format.decode({0}, object.body, {}, read);
  EXPECT_EQ(read, data);
}

}  // namespace
}  // namespace nbdstack
