#include "common/crypto/wrapped_key.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"

namespace nbdstack {
namespace {

// The errno and message of a passphrase or cost that cannot be used.
std::pair<int, std::string> failure_of(std::string_view passphrase, const ScryptCost& cost) {
  try {
    static_cast<void>(wrap_key(SecretKey::random(), passphrase, "id", cost));
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {0, ""};
}

TEST(WrappedKeyTest, ThePassphraseOpensWhatItWrapped) {
  const SecretKey key = SecretKey::random();
  const WrappedKey wrapped = wrap_key(key, "correct horse", "id", testing::kCheapScrypt);
  const auto opened = unwrap_key(wrapped, "correct horse", "id");
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(to_hex(opened->bytes()), to_hex(key.bytes()));
}

TEST(WrappedKeyTest, PassphrasesAreBytesNotText) {
  const SecretKey key = SecretKey::random();
  const std::string_view passphrase("a\0b\xff", 4);
  const WrappedKey wrapped = wrap_key(key, passphrase, "id", testing::kCheapScrypt);
  EXPECT_TRUE(unwrap_key(wrapped, passphrase, "id").has_value());
  EXPECT_FALSE(unwrap_key(wrapped, "a", "id").has_value());
}

TEST(WrappedKeyTest, EverythingElseDoesNotOpenIt) {
  const WrappedKey wrapped =
      wrap_key(SecretKey::random(), "correct horse", "id", testing::kCheapScrypt);
  EXPECT_FALSE(unwrap_key(wrapped, "Correct horse", "id").has_value());
  EXPECT_FALSE(unwrap_key(wrapped, "correct horse ", "id").has_value());
  EXPECT_FALSE(unwrap_key(wrapped, "correct horse", "another").has_value());

  WrappedKey changed = wrapped;
  changed.salt[0] ^= std::byte{1};
  EXPECT_FALSE(unwrap_key(changed, "correct horse", "id").has_value());
  changed = wrapped;
  changed.sealed.back() ^= std::byte{1};
  EXPECT_FALSE(unwrap_key(changed, "correct horse", "id").has_value());
  for (const ScryptCost cost :
       {ScryptCost{.n = 32, .r = 8, .p = 1}, ScryptCost{.n = 16, .r = 4, .p = 1},
        ScryptCost{.n = 16, .r = 8, .p = 2}}) {
    changed = wrapped;
    changed.cost = cost;
    EXPECT_FALSE(unwrap_key(changed, "correct horse", "id").has_value());
  }
}

TEST(WrappedKeyTest, TheSameKeyAndPassphraseAreWrappedAnewEachTime) {
  const SecretKey key = SecretKey::random();
  const WrappedKey first = wrap_key(key, "p", "id", testing::kCheapScrypt);
  const WrappedKey second = wrap_key(key, "p", "id", testing::kCheapScrypt);
  EXPECT_NE(first.salt, second.salt);
  EXPECT_NE(first.sealed, second.sealed);
}

TEST(WrappedKeyTest, AnEmptyPassphraseIsRefused) {
  const auto [code, message] = failure_of("", testing::kCheapScrypt);
  EXPECT_EQ(code, EINVAL);
  EXPECT_NE(message.find("passphrase"), std::string::npos);
}

TEST(WrappedKeyTest, TheDefaultCostCanBePaid) {
  EXPECT_EQ(fault_of(ScryptCost{}), std::nullopt);
  const WrappedKey wrapped = wrap_key(SecretKey::random(), "p", "id", ScryptCost{});
  EXPECT_TRUE(unwrap_key(wrapped, "p", "id").has_value());
}

TEST(WrappedKeyTest, TheBoundsThemselvesAreAllowed) {
  EXPECT_EQ(fault_of({.n = kScryptMemory_bytes_max / 128 / 8, .r = 8, .p = 1}), std::nullopt);
  EXPECT_EQ(fault_of({.n = std::uint64_t{1} << 17U, .r = 8, .p = 16}), std::nullopt);
  EXPECT_EQ(fault_of({.n = 2, .r = 1, .p = 1}), std::nullopt);
}

TEST(WrappedKeyTest, CostsThatAreImpossibleOrHostileAreRefusedBeforeTheyArePaid) {
  constexpr std::uint64_t kLargest = std::uint64_t{1} << 63U;
  constexpr std::uint32_t kLargest32 = std::numeric_limits<std::uint32_t>::max();
  const ScryptCost costs[] = {
      {.n = 0, .r = 8, .p = 1},
      {.n = 1, .r = 8, .p = 1},
      {.n = 1000, .r = 8, .p = 1},
      {.n = 16, .r = 0, .p = 1},
      {.n = 16, .r = 8, .p = 0},
      {.n = std::uint64_t{1} << 21U, .r = 8, .p = 1},
      {.n = std::uint64_t{1} << 17U, .r = 8, .p = 17},
      {.n = kLargest, .r = 1, .p = 1},
      {.n = kLargest, .r = kLargest32, .p = kLargest32},
      {.n = 2, .r = kLargest32, .p = 1},
      {.n = 2, .r = 1, .p = kLargest32},
      {.n = 2, .r = kLargest32, .p = kLargest32},
  };
  for (const ScryptCost& cost : costs) {
    const auto fault = fault_of(cost);
    ASSERT_TRUE(fault.has_value()) << cost.n << " " << cost.r << " " << cost.p;
    const auto [code, message] = failure_of("p", cost);
    EXPECT_EQ(code, EINVAL);
    EXPECT_NE(message.find(*fault), std::string::npos);
  }
}

}  // namespace
}  // namespace nbdstack
