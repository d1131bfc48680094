// zero, trim and extents of a volume over a store in memory.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "common/error.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::disk_object;
using testing::Gate;
using testing::kObject;
using testing::MemoryStore;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kHuge = (std::uint64_t{1} << 63U) - 1;

class VolumeDiscardTest : public ::testing::Test {
 protected:
  VolumeDiscardTest() { store_.set_lists_are_proof(true); }

  void store_blocks(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = first; i < first + count; ++i) {
      store_.place(disk_object(i), pattern(kObject, static_cast<unsigned>(i)));
    }
  }
  void zero(std::uint64_t length, std::uint64_t offset, bool fast = false) {
    volume_.zero(length, offset, {.may_trim = true, .fast = fast});
  }
  void trim(std::uint64_t length, std::uint64_t offset) {
    volume_.trim(length, offset, Durability::on_flush);
  }
  std::vector<Extent> extents(std::uint64_t length, std::uint64_t offset, bool only_one = false) {
    ExtentList list;
    volume_.extents(length, offset, only_one, list);
    return list.all();
  }
  std::size_t writes() {
    return store_.calls(StoreOp::put).size() + store_.calls(StoreOp::remove).size();
  }
  void wait_for_writers(std::size_t count) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (volume_.writers() < count) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "nobody waits for the block";
      std::this_thread::yield();
    }
  }

  MemoryStore store_;
  Volume volume_{store_,
                 testing::plain_format("disk", kObject),
                 BlockGeometry(kHuge, kObject),
                 {.connections = 4}};
};

TEST_F(VolumeDiscardTest, TrimOfWhatWasNeverWrittenRemovesNothing) {
  trim(std::uint64_t{4} << 30U, kObject);
  zero(std::uint64_t{4} << 30U, 100);
  EXPECT_EQ(writes(), 0U);
}

TEST_F(VolumeDiscardTest, OnlyObjectsThatExistAreRemovedInOneRequest) {
  store_blocks(3, 1);
  store_blocks(70, 1);
  trim(100 * kObject, 0);
  const std::vector<StoreCall> expected{{StoreOp::remove, {disk_object(3), disk_object(70)}}};
  EXPECT_EQ(store_.calls(StoreOp::remove), expected);
}

TEST_F(VolumeDiscardTest, NoRequestRemovesMoreThanAThousandObjects) {
  store_blocks(0, 2500);
  trim(2500 * kObject, 0);
  std::size_t removed = 0;
  for (const StoreCall& call : store_.calls(StoreOp::remove)) {
    EXPECT_LE(call.keys.size(), 1000U);
    removed += call.keys.size();
  }
  EXPECT_EQ(removed, 2500U);
  EXPECT_EQ(store_.calls(StoreOp::remove).size(), 3U);
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDiscardTest, ATrimLargerThanItsRoundsRemovesEverything) {
  store_blocks(0, 16'500);
  trim(16'500 * kObject, 0);
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDiscardTest, TrimLeavesNeighboursAndPartsAlone) {
  store_blocks(0, 5);
  trim(3 * kObject, kObject / 2);  // the second half of 0, all of 1 and 2, the first half of 3
  EXPECT_EQ(store_.keys(),
            (std::vector<std::string>{disk_object(0), disk_object(3), disk_object(4)}));
  EXPECT_EQ(store_.body_of(disk_object(0)), pattern(kObject, 0));
  EXPECT_EQ(store_.body_of(disk_object(3)), pattern(kObject, 3));
}

TEST_F(VolumeDiscardTest, TrimInsideOneObjectDoesNothing) {
  store_blocks(0, 1);
  trim(kObject - 2, 1);
  EXPECT_TRUE(store_.calls().empty());
}

TEST_F(VolumeDiscardTest, ZeroClearsThePartsAtBothEnds) {
  store_blocks(0, 4);
  zero(2 * kObject, kObject / 2);
  Bytes first = pattern(kObject, 0);
  Bytes last = pattern(kObject, 2);
  std::fill(first.begin() + kObject / 2, first.end(), std::byte{0});
  std::fill(last.begin(), last.begin() + kObject / 2, std::byte{0});
  EXPECT_EQ(store_.body_of(disk_object(0)), first);
  EXPECT_EQ(store_.body_of(disk_object(1)), std::nullopt);
  EXPECT_EQ(store_.body_of(disk_object(2)), last);
  EXPECT_EQ(store_.body_of(disk_object(3)), pattern(kObject, 3));
}

TEST_F(VolumeDiscardTest, ZeroInsideOneObjectClearsJustThat) {
  store_blocks(0, 1);
  zero(10, 20);
  Bytes expected = pattern(kObject, 0);
  std::fill_n(expected.begin() + 20, 10, std::byte{0});
  EXPECT_EQ(store_.body_of(disk_object(0)), expected);
}

TEST_F(VolumeDiscardTest, ZeroOfPartsWithoutAnObjectStoresNothing) {
  zero(2 * kObject, kObject / 2);
  zero(10, 20);
  EXPECT_EQ(writes(), 0U);
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDiscardTest, AFastZeroThatWouldRewriteAPartIsRefusedBeforeAnythingChanges) {
  store_blocks(0, 3);
  try {
    zero(2 * kObject, kObject / 2, /*fast=*/true);
    FAIL() << "ENOTSUP was expected";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOTSUP);
  }
  EXPECT_EQ(writes(), 0U);
}

TEST_F(VolumeDiscardTest, AFastZeroOfWholeObjectsAndAbsentPartsIsDone) {
  store_blocks(1, 2);
  zero(3 * kObject, kObject / 2, /*fast=*/true);
  EXPECT_TRUE(store_.keys().empty());
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeDiscardTest, ATrimWaitsForAWriteOfTheSameObject) {
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) gate.pass();
  });
  auto write = std::async(std::launch::async,
                          [&] { volume_.pwrite(pattern(kObject, 1), kObject, Durability::fua); });
  gate.wait_for_arrivals(1);
  auto discard = std::async(std::launch::async, [&] { trim(3 * kObject, 0); });
  wait_for_writers(2);
  EXPECT_TRUE(store_.calls(StoreOp::list).empty()) << "a listing now could miss the object";
  gate.open();
  write.get();
  discard.get();
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDiscardTest, AWriteWaitsForATrimOfTheSameObject) {
  store_blocks(0, 3);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::remove) gate.pass();
  });
  auto discard = std::async(std::launch::async, [&] { trim(3 * kObject, 0); });
  gate.wait_for_arrivals(1);
  auto write = std::async(std::launch::async,
                          [&] { volume_.pwrite(pattern(kObject, 9), kObject, Durability::fua); });
  wait_for_writers(2);
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
  gate.open();
  discard.get();
  write.get();
  EXPECT_EQ(store_.body_of(disk_object(1)), pattern(kObject, 9));
}

TEST_F(VolumeDiscardTest, AFailedRemovalFailsTheTrim) {
  store_blocks(0, 1500);
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::remove) throw Error(EIO, "not removed");
  });
  EXPECT_THROW(trim(1500 * kObject, 0), Error);
}

TEST_F(VolumeDiscardTest, TheEndOfTheLargestDiskIsInReach) {
  const std::uint64_t last = kHuge / kObject;
  volume_.pwrite(pattern(100, 1), kHuge - 100, Durability::on_flush);
  EXPECT_EQ(store_.keys(), std::vector<std::string>{"disk/0007ffffffffffff"});
  const std::uint64_t offset = last * kObject - kObject;
  const std::vector<Extent> expected{{{offset, kObject}, kHole},
                                     {{last * kObject, kHuge - last * kObject}, kData}};
  EXPECT_EQ(extents(kHuge - offset, offset), expected);
  trim((std::uint64_t{4} << 30U) - 1, kHuge - ((std::uint64_t{4} << 30U) - 1));
  EXPECT_TRUE(store_.keys().empty()) << "the short last block was covered as far as the disk goes";
}

TEST_F(VolumeDiscardTest, ExtentsShowObjectsAsDataAndTheRestAsHoles) {
  store_blocks(1, 2);
  store_blocks(5, 1);
  const std::vector<Extent> expected{{{100, kObject - 100}, kHole},
                                     {{kObject, 2 * kObject}, kData},
                                     {{3 * kObject, 2 * kObject}, kHole},
                                     {{5 * kObject, 10}, kData}};
  EXPECT_EQ(extents(5 * kObject + 10 - 100, 100), expected);
}

TEST_F(VolumeDiscardTest, ExtentsOfOneBlockAskForThatBlockAlone) {
  store_blocks(1, 1);
  EXPECT_EQ(extents(10, kObject), (std::vector<Extent>{{{kObject, 10}, kData}}));
  EXPECT_EQ(extents(10, 2 * kObject), (std::vector<Extent>{{{2 * kObject, 10}, kHole}}));
  EXPECT_TRUE(store_.calls(StoreOp::list).empty());
}

TEST_F(VolumeDiscardTest, ALongAnswerAboutExtentsEndsEarlyButSaysNothingWrong) {
  store_blocks(0, 12'000);
  const auto first = extents(std::uint64_t{4} << 30U, 0);
  EXPECT_EQ(first, (std::vector<Extent>{{{0, 10'000 * kObject}, kData}}));
  const auto one = extents(std::uint64_t{4} << 30U, 0, /*only_one=*/true);
  EXPECT_EQ(one, (std::vector<Extent>{{{0, 1000 * kObject}, kData}}));
}

TEST_F(VolumeDiscardTest, OtherObjectsUnderThePrefixAreLeftAlone) {
  const std::vector<std::string> others{"disk/0000000000000000.bak", "disk/00000000000000zz",
                                        "disk/0000000000000a", "disk/00000000000000AB",
                                        "diskette/0000000000000001"};
  for (const std::string& key : others) store_.place(key, pattern(10, 1));
  EXPECT_EQ(extents(10 * kObject, 0), (std::vector<Extent>{{{0, 10 * kObject}, kHole}}));
  trim(std::uint64_t{1} << 30U, 0);
  EXPECT_EQ(store_.keys().size(), others.size());
}

}  // namespace
}  // namespace nbdstack
