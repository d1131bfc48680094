// A store whose listings have an order of their own: all that is listed of a volume is seen, and no
// more than one listing is needed where one was enough in order.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "common/error.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/presence.hpp"
#include "plugins/s3/layout/s3backer/s3backer_names.hpp"
#include "plugins/s3/serving/volume_set.hpp"
#include "plugins/s3/volume/volume_open.hpp"
#include "tests/unit/s3/hashed_format.hpp"
#include "tests/unit/s3/plain_format.hpp"
#include "tests/unit/s3/unsorted_store.hpp"

namespace nbdstack {
namespace {

using testing::UnsortedStore;

constexpr std::uint64_t kBlocks = 100'000;

class UnsortedListingTest : public ::testing::Test {
 protected:
  void place(std::uint64_t count, std::uint64_t stride) {
    for (std::uint64_t i = 0; i < count; ++i) {
      store_.truth().place(format_->name_of({i * stride}), std::vector<std::byte>(i % 7));
    }
  }

  // The blocks that are listed, in the range that is said to be complete.
  std::map<std::uint64_t, std::uint64_t> list(BlockNumber first, BlockNumber end) {
    std::map<std::uint64_t, std::uint64_t> seen;
    bool is_complete = false;
    BlockListing(store_, *format_, 4).run(first, end, [&](const ListedBlocks& listed) {
      EXPECT_FALSE(is_complete) << "the whole range is complete at the end only";
      is_complete = listed.first < listed.end;
      if (is_complete) {
        EXPECT_EQ(listed.first, first);
        EXPECT_EQ(listed.end, end);
      }
      for (const ListedBlock& each : listed.blocks) {
        EXPECT_TRUE(seen.emplace(each.block.value, each.size_bytes).second);
      }
      return true;
    });
    EXPECT_TRUE(is_complete);
    return seen;
  }

  UnsortedStore store_;
  std::shared_ptr<const BlockFormat> format_ = testing::plain_format("disk", 4096);
};

TEST_F(UnsortedListingTest, EveryBlockOfARangeIsSeenOnceByOneListing) {
  place(5000, 3);
  EXPECT_EQ(list({0}, {kBlocks}).size(), 5000U);
  EXPECT_EQ(store_.listings(), 1U) << "the order was found out by a page that was not used";
  const auto part = list({3000}, {6000});
  EXPECT_EQ(part.size(), 1000U);
  EXPECT_EQ(part.begin()->first, 3000U);
  EXPECT_EQ(store_.listings(), 2U);
}

TEST_F(UnsortedListingTest, SoIsEveryBlockOfHashedNames) {
  format_ = testing::hashed_format("", BlockGeometry(kBlocks * 4096, 4096));
  place(5000, 3);
  EXPECT_EQ(list({0}, {kBlocks}).size(), 5000U);
  EXPECT_LE(store_.listings(), 2U) << "not one for each first digit";
}

TEST_F(UnsortedListingTest, AVisitorWhoHasEnoughEndsIt) {
  place(5000, 1);
  unsigned visits = 0;
  BlockListing(store_, *format_, 4).run({0}, {kBlocks}, [&](const ListedBlocks&) {
    ++visits;
    return false;
  });
  EXPECT_EQ(visits, 1U);
}

// Blocks that a part in order would have shown may have been left out of it.
TEST_F(UnsortedListingTest, AnOrderThatEndsInTheMidstIsAnError) {
  place(5000, 1);
  store_.seem_sorted_for(1);
  const auto visit = [](const ListedBlocks& /*listed*/) { return true; };
  EXPECT_THROW(BlockListing(store_, *format_, 4).run({0}, {kBlocks}, visit), Error);
  EXPECT_EQ(list({0}, {kBlocks}).size(), 5000U) << "and known from then on";
}

TEST_F(UnsortedListingTest, InOrderMeansInOrder) {
  place(3000, 3);
  std::uint64_t next = 0;
  BlockListing::run_in_order(store_, *format_, {0}, {kBlocks}, [&](const ListedBlocks& listed) {
    for (const ListedBlock& each : listed.blocks) {
      EXPECT_EQ(each.block.value, next);
      next += 3;
    }
    return true;
  });
  EXPECT_EQ(next, 9000U);
}

// A listing of a few blocks would be one of the whole volume.
TEST_F(UnsortedListingTest, NoPartIsListedOnceTheOrderIsKnown) {
  BlockObjects objects(store_, *format_, 4096);
  EXPECT_TRUE(objects.are_listed_in_order());
  list({0}, {kBlocks});
  EXPECT_FALSE(objects.are_listed_in_order());
}

TEST_F(UnsortedListingTest, WhatIsAskedOfANameStandsAmongOthers) {
  for (const char* key : {"disk/nbdstack-volume.json.old", "disk/nbdstack-volume.json"}) {
    store_.truth().place_text(key, "x");
  }
  EXPECT_TRUE(is_listed(store_, "disk/nbdstack-volume.json"));
  EXPECT_FALSE(is_listed(store_, "disk/nbdstack-volume"));
}

TEST_F(UnsortedListingTest, AVolumeOfAnotherProgramIsFoundBehindWhateverIsListedFirst) {
  store_.truth().place_text("disk/zzz0", "listed first, and sorted behind all blocks");
  for (const std::uint64_t block : {0U, 1U, 2U}) {
    store_.truth().place(format_->name_of({block}), std::vector<std::byte>(4096));
  }
  const VolumeLayout layout =
      open_volume(store_, {.bucket = "b", .key = "disk", .size_bytes = 65536, .object_size = 4096});
  EXPECT_EQ(layout.layout, Layout::own);
  EXPECT_FALSE(layout.is_new);
}

// Its geometry is told by the highest number, which is not the last that is listed.
TEST_F(UnsortedListingTest, TheLastBlockOfAnS3backerVolumeIsSought) {
  const S3backerNames names("disk/", false);
  for (const std::uint64_t block : {1U, 16U, 7U}) {
    store_.truth().place(names.block({block}), std::vector<std::byte>(4096));
  }
  VolumeRequest request{.bucket = "b", .key = "disk", .size_bytes = 65536, .object_size = 4096};
  request.layout = Layout::s3backer;
  EXPECT_THROW(open_volume(store_, request), Error) << "block 16 lies behind the end";
  store_.truth().drop(names.block({16}));
  EXPECT_EQ(open_volume(store_, request).size_bytes, 65536U);
}

}  // namespace
}  // namespace nbdstack
