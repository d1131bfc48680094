#include "common/crypto/sealing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/hash/digest.hpp"
#include "tests/unit/fakes/bytes_of.hpp"
#include "tests/unit/fakes/fixed_key.hpp"

namespace nbdstack {
namespace {

using Bytes = std::vector<std::byte>;
using testing::bytes_of;
using testing::fixed_key;

class SealingTest : public ::testing::Test {
 protected:
  Bytes sealed_text() const {
    Bytes sealed(text_.size() + kSealing_bytes);
    seal(key_, associated_, text_, sealed);
    return sealed;
  }

  const SecretKey key_ = fixed_key(7);
  const Bytes associated_ = bytes_of("beside it");
  const Bytes text_ = bytes_of("what nobody may read");
};

TEST(SecretKeyTest, MovingAKeyLeavesNothingBehind) {
  SecretKey first = fixed_key(9);
  const auto first_memory = first.bytes();
  SecretKey second(std::move(first));
  const auto second_memory = second.bytes();
  SecretKey third;
  third = std::move(second);
  EXPECT_EQ(to_hex(third.bytes()), to_hex(fixed_key(9).bytes()));
  EXPECT_EQ(to_hex(first_memory), to_hex(SecretKey().bytes()));
  EXPECT_EQ(to_hex(second_memory), to_hex(SecretKey().bytes()));
}

TEST(SecretKeyTest, RandomKeysDiffer) {
  EXPECT_NE(to_hex(SecretKey::random().bytes()), to_hex(SecretKey::random().bytes()));
}

TEST(SecretKeyTest, AKeyIsDerivedPerLabelAndContext) {
  const SecretKey key = fixed_key(1);
  SecretKey::Bytes a{};
  SecretKey::Bytes b{};
  SecretKey::Bytes c{};
  key.derive("one", bytes_of("x"), a);
  key.derive("two", bytes_of("x"), b);
  key.derive("one", bytes_of("y"), c);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
  // The label ends where it ends.
  key.derive("onex", {}, b);
  EXPECT_NE(a, b);
}

TEST_F(SealingTest, WhatIsSealedIsOpenedAgain) {
  const Bytes sealed = sealed_text();
  Bytes text(text_.size());
  EXPECT_TRUE(unseal(key_, associated_, sealed, text));
  EXPECT_EQ(text, text_);
}

TEST_F(SealingTest, TheSameTextIsNeverSealedToTheSameBytes) {
  EXPECT_NE(sealed_text(), sealed_text());
}

TEST_F(SealingTest, AnEmptyTextCanBeSealed) {
  Bytes sealed(kSealing_bytes);
  seal(key_, associated_, {}, sealed);
  EXPECT_TRUE(unseal(key_, associated_, sealed, {}));
  sealed.back() ^= std::byte{1};
  EXPECT_FALSE(unseal(key_, associated_, sealed, {}));
}

TEST_F(SealingTest, EveryChangedBitIsNoticedAndNothingIsShown) {
  const Bytes sealed = sealed_text();
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes changed = sealed;
    changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    Bytes text(text_.size(), std::byte{0xff});
    EXPECT_FALSE(unseal(key_, associated_, changed, text)) << "bit " << bit;
    EXPECT_EQ(text, Bytes(text_.size())) << "bit " << bit;
  }
}

TEST_F(SealingTest, AnotherKeyOrOtherAssociatedDataDoNotOpen) {
  const Bytes sealed = sealed_text();
  Bytes text(text_.size());
  EXPECT_FALSE(unseal(fixed_key(8), associated_, sealed, text));
  EXPECT_FALSE(unseal(key_, bytes_of("beside iT"), sealed, text));
  EXPECT_FALSE(unseal(key_, {}, sealed, text));
}

}  // namespace
}  // namespace nbdstack
