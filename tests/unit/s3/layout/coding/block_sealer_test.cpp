#include "plugins/s3/layout/coding/block_sealer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/hash/digest.hpp"
#include "common/io/big_endian.hpp"
#include "tests/unit/fakes/bytes_of.hpp"
#include "tests/unit/fakes/fixed_key.hpp"

namespace nbdstack {
namespace {

using Bytes = std::vector<std::byte>;
using testing::bytes_of;
using testing::fixed_key;

TEST(BigEndianTest, NumbersAreStoredMostSignificantByteFirst) {
  Bytes place(4);
  store_big_endian(0x99010203ffULL, place);
  EXPECT_EQ(to_hex(place), "010203ff");
  EXPECT_EQ(load_big_endian(place), 0x010203ffU);
  EXPECT_EQ(load_big_endian({}), 0U);
}

TEST(BlockSealerTest, ABlockOpensOnlyInItsPlaceInItsVolumeUnderItsHeader) {
  const Bytes secret = bytes_of("what nobody may read");
  const BlockSealer sealer(fixed_key(3), "volume");
  const Bytes header = bytes_of("header");
  Bytes sealed(secret.size() + kSealing_bytes);
  sealer.seal({5}, header, secret, sealed);
  Bytes text(secret.size());
  EXPECT_TRUE(sealer.unseal({5}, header, sealed, text));
  EXPECT_EQ(text, secret);
  EXPECT_FALSE(sealer.unseal({6}, header, sealed, text));
  EXPECT_FALSE(sealer.unseal({5}, bytes_of("headeR"), sealed, text));
  EXPECT_FALSE(BlockSealer(fixed_key(3), "volumf").unseal({5}, header, sealed, text));
  EXPECT_FALSE(BlockSealer(fixed_key(4), "volume").unseal({5}, header, sealed, text));
}

}  // namespace
}  // namespace nbdstack
