// The record of what is stored: there and back, small, and refused when a bit of it is another.
#include "plugins/s3/blocks/block_record.hpp"

#include <gtest/gtest.h>

#include <random>

#include "common/error.hpp"

namespace nbdstack {
namespace {

BlockRecord block_record_of(std::uint64_t block_count, KnownBlocks blocks) {
  return {.state = BlockRecord::State::recorded,
          .volume_id = "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
          .owner = "a9b8c7d6e5f4a9b8c7d6e5f4a9b8c7d6",
          .block_count = block_count,
          .blocks = std::move(blocks)};
}

BlockRecord record_there_and_back(const BlockRecord& record) {
  return BlockRecord::parse(record.to_bytes().value(), "disk/nbdstack-blocks");
}

std::string block_refusal_of(std::span<const std::byte> bytes) {
  try {
    BlockRecord::parse(bytes, "disk/nbdstack-blocks");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    return error.what();
  }
  return {};
}

TEST(BlockRecordTest, RunsComeBackAsTheyWere) {
  const KnownBlocks blocks{
      {{0, 3}, true}, {{3, 1000}, false}, {{2000, 1}, true}, {{2001, 99}, false}};
  const BlockRecord read = record_there_and_back(block_record_of(5000, blocks));
  EXPECT_EQ(read.blocks, blocks);
  EXPECT_EQ(read.block_count, 5000U);
  EXPECT_EQ(read.volume_id, "0f1e2d3c4b5a69788796a5b4c3d2e1f0");
  EXPECT_EQ(read.owner, "a9b8c7d6e5f4a9b8c7d6e5f4a9b8c7d6");
  EXPECT_EQ(record_there_and_back(block_record_of(7, {})).blocks, KnownBlocks());
  EXPECT_EQ(record_there_and_back(block_record_of(0, {})).blocks, KnownBlocks());
}

TEST(BlockRecordTest, AMarkKeepsWhoPutIt) {
  BlockRecord mark = block_record_of(8, {});
  mark.state = BlockRecord::State::unowned;
  mark.process = {.host_name = "h\"\n\xff",
                  .pid = 4711,
                  .start_time = 12,
                  .boot_id = "boot",
                  .pid_namespace = "pid:[1]"};
  const BlockRecord read = record_there_and_back(mark);
  EXPECT_EQ(read.state, BlockRecord::State::unowned);
  EXPECT_EQ(read.process.pid, 4711);
  EXPECT_EQ(read.process.boot_id, "boot");
}

TEST(BlockRecordTest, ThirtyTwoMillionBlocksInTheWorstOrderFit) {
  constexpr std::uint64_t kMany = std::uint64_t{1} << 25U;
  std::mt19937_64 rng(1);
  KnownBlocks blocks;
  std::uint64_t position = 0;
  for (bool stored = true; position < kMany; stored = !stored) {
    const std::uint64_t length = std::min<std::uint64_t>(1 + rng() % 3, kMany - position);
    blocks.push_back({.blocks = {position, length}, .stored = stored});
    position += length;
  }
  const BlockRecord record = block_record_of(kMany, std::move(blocks));
  const auto bytes = record.to_bytes();
  ASSERT_TRUE(bytes.has_value());
  EXPECT_LT(bytes->size(), kMany / 4) << "two bits a block";
  EXPECT_LE(bytes->size(), block_record_bytes_max(kMany));
  EXPECT_EQ(BlockRecord::parse(*bytes, "name").blocks, record.blocks);
}

TEST(BlockRecordTest, AnEmptyOrFullVolumeOfAnySizeTakesSomeHundredBytes) {
  for (const std::uint64_t count : {std::uint64_t{1} << 20U, std::uint64_t{1} << 51U}) {
    EXPECT_LT(block_record_of(count, {{{0, count}, false}}).to_bytes()->size(), 500U);
    EXPECT_LT(block_record_of(count, {{{0, count}, true}}).to_bytes()->size(), 500U);
    EXPECT_EQ(record_there_and_back(block_record_of(count, {{{0, count}, true}})).blocks.size(),
              1U);
  }
}

TEST(BlockRecordTest, EveryDamageIsRefused) {
  const auto bytes = block_record_of(100, {{{0, 50}, true}, {{50, 50}, false}}).to_bytes().value();
  EXPECT_EQ(block_refusal_of(bytes), "");
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{1};
    EXPECT_NE(block_refusal_of(damaged), "") << "byte " << i;
    EXPECT_NE(block_refusal_of(std::span(bytes).first(i)), "") << "cut to " << i;
  }
}

}  // namespace
}  // namespace nbdstack
