// The engine's border to its store: a block goes out and comes in whole, and a part lies inside it.
#include "plugins/s3/blocks/block_objects.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack::testing {
namespace {

class BlockObjectsTest : public ::testing::Test {
 protected:
  static constexpr BlockNumber kBlock{3};

  MemoryStore store;
  std::shared_ptr<const BlockFormat> format = plain_format("disk", kObject);
  BlockObjects objects{store, *format, kObject};
};

TEST_F(BlockObjectsTest, ABlockOfAnotherLengthIsABrokenInvariantAndNeverStored) {
  const std::vector<std::byte> shorter(kObject - 1, std::byte{7});
  EXPECT_BROKEN((void)objects.put(kBlock, shorter), "block.value, data.size.. = 3, 4095");
  const std::vector<std::byte> longer(kObject + 1, std::byte{7});
  EXPECT_BROKEN((void)objects.put(kBlock, longer), "data.size.. == block_size_");
  EXPECT_FALSE(objects.exists(kBlock));
}

TEST_F(BlockObjectsTest, ABufferThatDoesNotFitTheBlockIsABrokenInvariant) {
  const std::vector<std::byte> data(kObject, std::byte{7});
  ASSERT_EQ(objects.put(kBlock, data), BlockObjects::Put::stored);
  std::vector<std::byte> buffer(kObject - 1);
  EXPECT_BROKEN((void)objects.get(kBlock, buffer), "data.size.. == block_size_");
  EXPECT_BROKEN((void)objects.get_part(kBlock, buffer, 2), "offset_in_block = 3, 2");
  EXPECT_TRUE(objects.get_part(kBlock, buffer, 1));  // up to the end of the block
}

}  // namespace
}  // namespace nbdstack::testing
