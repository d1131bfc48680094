#include "common/block/block_size.hpp"

#include <gtest/gtest.h>

#include <string>

#include "common/error.hpp"

namespace nbdstack {
namespace {

TEST(BlockSizeTest, IsTheUsersOrTheLayersOrADefault) {
  LayerTraits below;
  EXPECT_EQ(block_size_over(below, 0, "p"), kDefaultBlockSize);
  EXPECT_EQ(block_size_over(below, 512, "p"), 512U);
  below.minimum_block_size = 4096;
  below.preferred_block_size = 8192;
  below.maximum_block_size = 1U << 20U;
  EXPECT_EQ(block_size_over(below, 0, "p"), 8192U);
  EXPECT_EQ(block_size_over(below, 4096, "p"), 4096U);
  EXPECT_EQ(block_size_over(below, 1U << 20U, "p"), 1U << 20U);
}

TEST(BlockSizeTest, OneThatTheLayerBelowDoesNotTakeIsRefusedByName) {
  const LayerTraits below{.minimum_block_size = 4096, .maximum_block_size = 1U << 20U};
  for (const std::uint32_t wanted : {2048U, 2U << 20U}) {
    try {
      block_size_over(below, wanted, "md5-block-size");
      ADD_FAILURE() << wanted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
      EXPECT_EQ(std::string(error.what()).find("md5-block-size is "), 0U) << error.what();
    }
  }
}

TEST(BlockSizeTest, ALayerWithoutConstraintsIsGivenNbdsOwn) {
  LayerTraits below;
  LayerTraits traits = traits_preferring(below, 65536);
  EXPECT_EQ(traits.minimum_block_size, 1U);
  EXPECT_EQ(traits.preferred_block_size, 65536U);
  EXPECT_EQ(traits.maximum_block_size, 0xffffffffU);
  below.minimum_block_size = 512;
  below.preferred_block_size = 1U << 20U;
  below.maximum_block_size = 1U << 25U;
  traits = traits_preferring(below, 65536);
  EXPECT_EQ(traits.minimum_block_size, 512U);
  EXPECT_EQ(traits.preferred_block_size, 1U << 20U) << "larger requests are no worse here";
  EXPECT_EQ(traits.maximum_block_size, 1U << 25U);
}

}  // namespace
}  // namespace nbdstack
