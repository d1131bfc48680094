#include "common/crypto/unit_cipher.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "common/hash/digest.hpp"
#include "tests/unit/fakes/fixed_key.hpp"

namespace nbdstack {
namespace {

using testing::fixed_key;
using Text = std::vector<std::byte>;
using Place = UnitCipher::Place;

constexpr std::size_t kUnit = UnitCipher::kUnit_bytes;

Text text_of(std::size_t size) {
  Text text(size);
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<std::byte>(i * 7 + i / 256);
  return text;
}

Text sealed_by(const UnitCipher& cipher, const Text& text, Place place) {
  Text sealed(text.size());
  cipher.encrypt(text, place, sealed);
  return sealed;
}

TEST(UnitCipherTest, TextIsReadWhereItWasWritten) {
  const UnitCipher cipher(fixed_key(1));
  const Text text = text_of(3 * kUnit);
  Text bytes = sealed_by(cipher, text, {8 * kUnit, 1});
  EXPECT_NE(bytes, text);
  cipher.decrypt(bytes, {8 * kUnit, 1});
  EXPECT_EQ(bytes, text);

  // Units are independent of each other.
  bytes = sealed_by(cipher, text, {8 * kUnit, 1});
  Text last(bytes.end() - kUnit, bytes.end());
  cipher.decrypt(last, {10 * kUnit, 1});
  EXPECT_EQ(last, Text(text.end() - kUnit, text.end()));
}

// Pins the bytes in the files: directories stay readable.
TEST(UnitCipherTest, TheFormatIsWhatItWas) {
  const UnitCipher cipher(fixed_key(1));
  const Text sealed = sealed_by(cipher, text_of(kUnit), {0x1234567 * kUnit, 1});
  EXPECT_EQ(to_hex(std::span(sealed).first(32)),
            "27788937108764d1f5ba53919bee255faffaf90e3ef5ddb2fc1aa97d128df74d");
}

TEST(UnitCipherTest, TheSameTextLooksDifferentInEachPlaceAndUnderEachKey) {
  const UnitCipher cipher(fixed_key(1));
  const Text text(kUnit, std::byte{5});
  const Text here = sealed_by(cipher, text, {0, 0});
  EXPECT_EQ(here, sealed_by(cipher, text, {0, 0}));
  EXPECT_NE(here, sealed_by(cipher, text, {kUnit, 0}));
  EXPECT_NE(here, sealed_by(cipher, text, {0, 1}));
  EXPECT_NE(here, sealed_by(UnitCipher(fixed_key(2)), text, {0, 0}));
  // Nor do equal parts within a unit look alike.
  EXPECT_FALSE(std::equal(here.begin(), here.begin() + 16, here.begin() + 16));
}

TEST(UnitCipherTest, AUnitInAnotherPlaceIsNoise) {
  const UnitCipher cipher(fixed_key(1));
  const Text text = text_of(kUnit);
  Text moved = sealed_by(cipher, text, {0, 0});
  cipher.decrypt(moved, {kUnit, 0});
  EXPECT_NE(moved, text);
}

TEST(UnitCipherTest, WhatWasNeverWrittenOrWasGivenBackIsZeros) {
  const UnitCipher cipher(fixed_key(1));
  Text bytes(2 * kUnit);
  cipher.decrypt(bytes, {0, 0});
  EXPECT_EQ(bytes, Text(2 * kUnit));

  // A reader sees a unit that is half given back.
  const Text text = text_of(kUnit);
  bytes = sealed_by(cipher, text, {0, 0});
  std::fill_n(bytes.begin(), kUnit / 2, std::byte{0});
  cipher.decrypt(bytes, {0, 0});
  EXPECT_TRUE(std::equal(bytes.begin() + kUnit / 2, bytes.end(), text.begin() + kUnit / 2));
  EXPECT_EQ(Text(bytes.begin(), bytes.begin() + kUnit / 2), Text(kUnit / 2));
}

TEST(UnitCipherTest, TextOfZerosIsNotZerosInTheFile) {
  const Text sealed = sealed_by(UnitCipher(fixed_key(1)), Text(kUnit), {0, 0});
  EXPECT_NE(sealed, Text(kUnit));
}

TEST(UnitCipherTest, TextCanBeEncryptedInPlace) {
  const UnitCipher cipher(fixed_key(1));
  Text bytes = text_of(2 * kUnit);
  const Text sealed = sealed_by(cipher, bytes, {0, 0});
  cipher.encrypt(bytes, {0, 0}, bytes);
  EXPECT_EQ(bytes, sealed);
}

TEST(UnitCipherTest, AnyTextAreReadThroughWholeUnits) {
  const Text file = text_of(4 * kUnit);
  const auto read = [&](std::span<std::byte> units, std::uint64_t from) {
    EXPECT_EQ(from % kUnit, 0U);
    EXPECT_EQ(units.size() % kUnit, 0U);
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(from), units.size(), units.begin());
  };
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, kUnit - 1, kUnit, 2 * kUnit}) {
    for (const std::size_t length : {std::size_t{1}, kUnit - 1, kUnit, kUnit + 1, 2 * kUnit}) {
      Text buffer(length);
      UnitCipher::read_any(buffer, offset, read);
      EXPECT_TRUE(std::equal(buffer.begin(), buffer.end(),
                             file.begin() + static_cast<std::ptrdiff_t>(offset)))
          << offset << " " << length;
    }
  }
}

TEST(UnitCipherTest, ThreadsDoNotDisturbEachOther) {
  const UnitCipher cipher(fixed_key(1));
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      const Text text(kUnit, static_cast<std::byte>(number));
      for (std::uint64_t unit = 0; unit < 200; ++unit) {
        Text bytes = sealed_by(cipher, text, {unit * kUnit, 0});
        cipher.decrypt(bytes, {unit * kUnit, 0});
        ASSERT_EQ(bytes, text);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace nbdstack
