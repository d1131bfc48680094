// A volume that nobody else writes to: what it knows to have no object sends nothing.
#include "plugins/s3/blocks/presence.hpp"

#include <future>

#include "common/error.hpp"
#include "tests/unit/s3/blocks/presence_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;
using testing::Gate;
using testing::is_list;
using testing::kGiB;
using testing::kObject;
using testing::kTiB;
using testing::StoreCall;
using testing::StoreOp;

class PresenceTest : public testing::VolumeOfOurs {};

// --- What was never stored ---

TEST_F(PresenceTest, ReadsTrimsAndZerosOfWhatWasNeverStoredSendNothing) {
  place(7);
  open_listed();
  EXPECT_EQ(read(6), zeros_);
  Bytes part(100, std::byte{1});
  volume_->pread(part, 8 * kObject + 50);
  EXPECT_EQ(part, Bytes(100));
  Bytes many(5 * kObject, std::byte{1});
  volume_->pread(many, 100 * kObject + 1);
  EXPECT_EQ(many, Bytes(5 * kObject));
  trim(8, 1'000'000);
  trim(6, 1);
  zero(7 * kObject - 5, 0);           // up to the block that is there
  zero(kGiB, 8 * kObject + 1);        // with parts of blocks at both ends
  zero(100, 9 * kObject + 1);         // inside one
  zero(kGiB, 8 * kObject + 1, true);  // fast: there is nothing to rewrite
  EXPECT_TRUE(store_.calls().empty());
}

TEST_F(PresenceTest, APartialWriteOfWhatWasNeverStoredIsOnePut) {
  open_listed();
  volume_->pwrite(Bytes(100, std::byte{3}), 5 * kObject + 10, Durability::on_flush);
  EXPECT_EQ(store_.calls(), (std::vector<StoreCall>{{StoreOp::put, {name_of(5)}}}));
  Bytes expected(kObject);
  std::fill_n(expected.begin() + 10, 100, std::byte{3});
  EXPECT_EQ(read(5), expected);
}

TEST_F(PresenceTest, MakingAFilesystemOnAnEmptyTebibyteDiscardsItForOneRequest) {
  open();
  volume_->wait_until_listed();
  for (std::uint64_t offset = 0; offset < kTiB; offset += 4 * kGiB) {
    volume_->trim(4 * kGiB, offset, Durability::on_flush);
    zero(2 * kGiB, offset + 100);
  }
  trim(0, kTiB / kObject);
  EXPECT_EQ(store_.calls().size(), 1U) << "the listing";
}

// Whoever begins before the listing has ended asks: a listing is at most a request per 1,000
// objects that are there, and one request where there are none.
TEST_F(PresenceTest, DiscardsOfAnEmptyVolumeDuringTheListingAreARequestEach) {
  Gate gate;
  const auto lister = std::make_shared<std::atomic<bool>>(true);
  store_.on_call([&gate, lister](const StoreCall& /*call*/) {
    if (lister->exchange(false)) gate.pass();
  });
  open();
  gate.wait_for_arrivals(1);
  trim(0, kTiB / kObject / 2);
  trim(0, kTiB / kObject / 2);
  EXPECT_EQ(store_.calls().size(), 2U) << "what was asked for once is known";
  gate.open();
  volume_->wait_until_listed();
}

TEST_F(PresenceTest, ZerosWrittenWhereALayoutStoresNoneSendNothing) {
  use_hashed_names();
  place(3);
  open_listed();
  write(4, zeros_);
  volume_->pwrite(Bytes(100), 5 * kObject + 7, Durability::on_flush);
  EXPECT_TRUE(store_.calls().empty());
  write(3, zeros_);
  EXPECT_EQ(removed(), std::vector<std::string>{name_of(3)});
  write(3, zeros_);
  EXPECT_EQ(removed().size(), 1U);
}

// --- What is stored ---

TEST_F(PresenceTest, WhatIsStoredIsFoundAndOnlyThatIsRemoved) {
  for (const std::uint64_t block : {3U, 4U, 70U, 2000U}) place(block);
  open_listed();
  EXPECT_EQ(read(4), content(4));
  EXPECT_EQ(read(2000), content(2000));
  store_.forget_calls();
  trim(4, 1'000'000);
  EXPECT_EQ(store_.calls(),
            (std::vector<StoreCall>{{StoreOp::remove, {name_of(4), name_of(70), name_of(2000)}}}));
  store_.forget_calls();
  EXPECT_EQ(read(70), zeros_);
  trim(4, 1'000'000);
  EXPECT_TRUE(store_.calls().empty()) << "what was removed is known to be absent";
}

TEST_F(PresenceTest, ExtentsComeFromTheMap) {
  for (const std::uint64_t block : {3U, 4U, 70U}) place(block);
  open_listed();
  const std::vector<Extent> expected{{{0, 3 * kObject}, kHole},
                                     {{3 * kObject, 2 * kObject}, kData},
                                     {{5 * kObject, 65 * kObject}, kHole},
                                     {{70 * kObject, kObject}, kData},
                                     {{71 * kObject, kGiB - 71 * kObject}, kHole}};
  EXPECT_EQ(extents(kGiB, 0), expected);
  EXPECT_EQ(extents(10, 4 * kObject + 5), (std::vector<Extent>{{{4 * kObject + 5, 10}, kData}}));
  EXPECT_TRUE(store_.calls().empty());
  write(5, content(5));
  store_.forget_calls();
  EXPECT_EQ(extents(5 * kObject, 3 * kObject),
            (std::vector<Extent>{{{3 * kObject, 3 * kObject}, kData},
                                 {{6 * kObject, 2 * kObject}, kHole}}));
  EXPECT_TRUE(store_.calls().empty());
}

TEST_F(PresenceTest, TheLastBlockOfADiskThatEndsInsideIt) {
  place(9);
  open_listed(9 * kObject + 5);
  EXPECT_EQ(extents(kObject + 5, 8 * kObject),
            (std::vector<Extent>{{{8 * kObject, kObject}, kHole}, {{9 * kObject, 5}, kData}}));
  volume_->trim(kObject + 5, 8 * kObject, Durability::on_flush);
  EXPECT_EQ(removed(), std::vector<std::string>{name_of(9)});
}

// --- Names by hash ---

TEST_F(PresenceTest, ALargeDiscardOfHashedNamesWaitsForTheListing) {
  use_hashed_names();
  for (const std::uint64_t block : {10U, 500U, 5000U}) place(block);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (is_list(call)) gate.pass();
  });
  open();
  gate.wait_for_arrivals(1);
  auto trimming = std::async(std::launch::async, [&] { trim(100, 10'000); });
  trim(0, 50);  // few enough to remove them all, there or not
  EXPECT_EQ(removed().size(), 50U);
  EXPECT_EQ(read(5000), content(5000));
  gate.open();
  trimming.get();
  EXPECT_EQ(removed().size(), 52U) << "50, and those that exist";
  EXPECT_TRUE(store_.keys().empty());
  store_.forget_calls();
  trim(0, kTiB / kObject);
  EXPECT_EQ(read(7), zeros_);
  EXPECT_TRUE(store_.calls().empty());
}

TEST_F(PresenceTest, ExtentsOfHashedNamesAreDataUntilTheyAreListed) {
  use_hashed_names();
  place(10);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (is_list(call)) gate.pass();
  });
  open();
  gate.wait_for_arrivals(1);
  EXPECT_EQ(extents(kGiB, 0), (std::vector<Extent>{{{0, kGiB}, kData}}));
  EXPECT_EQ(extents(kObject, 0), (std::vector<Extent>{{{0, kObject}, kHole}})) << "one look tells";
  gate.open();
  volume_->wait_until_listed();
  EXPECT_EQ(extents(kGiB, 0), (std::vector<Extent>{{{0, 10 * kObject}, kHole},
                                                   {{10 * kObject, kObject}, kData},
                                                   {{11 * kObject, kGiB - 11 * kObject}, kHole}}));
}

TEST_F(PresenceTest, ADiscardOfHashedNamesThatNobodyListsRemovesThemAll) {
  use_hashed_names();
  place(2345);
  store_.on_call([](const StoreCall& call) {
    if (is_list(call)) throw Error(EACCES, "no listing for you");
  });
  open_listed();
  trim(0, 20'000);
  EXPECT_EQ(removed().size(), 20'000U);
  EXPECT_EQ(store_.calls().size(), 20U);
  EXPECT_TRUE(store_.keys().empty());
}

}  // namespace
}  // namespace nbdstack
