// A volume over a store whose listings prove nothing: absence is believed on proof alone.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/error.hpp"
#include "tests/unit/s3/blocks/presence_fixture.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;
using testing::kObject;
using testing::LogOfErrors;
using testing::StoreCall;
using testing::StoreOp;

constexpr std::uint64_t kDoubtBlocks = 5000;

class PresenceDoubtTest : public testing::VolumeOfOurs {
 protected:
  PresenceDoubtTest() { store_.set_lists_are_proof(false); }

  void open_knowing(const KnownBlocks& known, const std::string& witness = "") {
    map_ = std::make_shared<PresenceMap>([this] { return is_owner_.load(); }, known);
    volume_ =
        std::make_unique<Volume>(store_, format_, BlockGeometry(kDoubtBlocks * kObject, kObject),
                                 VolumeOptions{.connections = 4, .map = map_, .witness = witness});
    volume_->wait_until_listed();
    store_.forget_calls();
  }
  // As long as this lasts, listings show nothing but `shown`.
  void hide_all_but(std::vector<std::uint64_t> shown) {
    store_.filter_listings([this, shown](const std::string& key) {
      return std::any_of(shown.begin(), shown.end(),
                         [&](std::uint64_t block) { return key == name_of(block); });
    });
  }
  std::size_t requests() { return store_.calls().size(); }

  std::shared_ptr<PresenceMap> map_;
};

// --- What a listing does not show ---

TEST_F(PresenceDoubtTest, WhatAListingHidesIsReadWrittenAndRemoved) {
  for (const std::uint64_t block : {3U, 4U, 5U}) place(block);
  hide_all_but({});
  open_knowing({});
  EXPECT_EQ(read(3), content(3));
  volume_->pwrite(Bytes(100, std::byte{9}), 4 * kObject, Durability::on_flush);
  Bytes expected = content(4);
  std::fill_n(expected.begin(), 100, std::byte{9});
  EXPECT_EQ(store_.body_of(name_of(4)), expected);
  zero(kObject, 5 * kObject);
  EXPECT_FALSE(store_.body_of(name_of(5)).has_value());
  trim(3, 1);
  EXPECT_FALSE(store_.body_of(name_of(3)).has_value());
}

TEST_F(PresenceDoubtTest, WhatAListingHidesIsNoHole) {
  place(3);
  hide_all_but({});
  open_knowing({});
  EXPECT_EQ(extents(10 * kObject, 0), (std::vector<Extent>{{{0, 10 * kObject}, kData}}));
  EXPECT_EQ(requests(), 0U) << "no listing would tell";
  EXPECT_EQ(extents(kObject, 2 * kObject), (std::vector<Extent>{{{2 * kObject, kObject}, kHole}}))
      << "one look does";
}

TEST_F(PresenceDoubtTest, AnAnswerThatThereIsNoneIsProof) {
  open_knowing({});
  EXPECT_EQ(read(7), zeros_);
  EXPECT_EQ(requests(), 1U);
  EXPECT_EQ(read(7), zeros_);
  trim(7, 1);
  volume_->pwrite(Bytes(100), 7 * kObject, Durability::on_flush);
  EXPECT_EQ(requests(), 2U) << "one GET, one PUT";
}

TEST_F(PresenceDoubtTest, WhatWasRemovedOnceIsNotRemovedAgain) {
  open_knowing({});
  trim(0, kDoubtBlocks);
  EXPECT_EQ(requests(), 5U);
  trim(0, kDoubtBlocks);
  zero(100 * kObject, 0);
  EXPECT_EQ(read(9), zeros_);
  EXPECT_EQ(requests(), 5U);
  EXPECT_EQ(extents(kObject * 9, 0), (std::vector<Extent>{{{0, 9 * kObject}, kHole}}));
}

// --- What is recorded ---

TEST_F(PresenceDoubtTest, WhatIsRecordedNeedsNoRequest) {
  place(3);
  open_knowing({{{0, 3}, false}, {{3, 1}, true}, {{4, kDoubtBlocks - 4}, false}});
  EXPECT_EQ(read(2), zeros_);
  trim(4, 1000);
  EXPECT_EQ(extents(5 * kObject, 0), (std::vector<Extent>{{{0, 3 * kObject}, kHole},
                                                          {{3 * kObject, kObject}, kData},
                                                          {{4 * kObject, kObject}, kHole}}));
  EXPECT_EQ(requests(), 0U);
}

TEST_F(PresenceDoubtTest, AListingThatShowsWhatIsRecordedAsAbsentMakesItUnknown) {
  place(3);
  LogOfErrors errors;
  open_knowing(no_blocks_stored(kDoubtBlocks));
  EXPECT_EQ(read(3), content(3));
  EXPECT_EQ(read(4), zeros_);
  ASSERT_EQ(errors.all().size(), 1U);
  EXPECT_NE(errors.all().front().find("disk/0000000000000003"), std::string::npos);
}

TEST_F(PresenceDoubtTest, AListingThatHidesWhatIsRecordedIsSaidOnce) {
  for (const std::uint64_t block : {3U, 4U, 5U}) place(block);
  hide_all_but({4});
  LogOfErrors errors;
  open_knowing({{{0, 3}, false}, {{3, 3}, true}});
  ASSERT_EQ(errors.all().size(), 1U);
  EXPECT_NE(errors.all().front().find("does not show 2 of 3 objects"), std::string::npos)
      << errors.all().front();
  EXPECT_EQ(read(3), content(3));
}

TEST_F(PresenceDoubtTest, AnObjectThatMustBeThereAndIsNotIsAnErrorAndNotZeros) {
  open_knowing({});
  write(3, content(3));
  store_.drop(name_of(3));
  const auto code_of = [](auto&& request) {
    try {
      request();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("disk/0000000000000003 is missing"),
                std::string::npos);
      return error.code();
    }
    return 0;
  };
  EXPECT_EQ(code_of([&] { read(3); }), EIO);
  EXPECT_EQ(code_of([&] { volume_->pwrite(Bytes(9), 3 * kObject, Durability::on_flush); }), EIO);
  write(3, content(4));
  EXPECT_EQ(read(3), content(4)) << "a whole write mends it";
}

// The GET of a reader may come between a removal and a write of others.
TEST_F(PresenceDoubtTest, AReaderThatMeetsARemovalAndAWriteIsNotToldOfALoss) {
  open_knowing({});
  write(3, content(3));
  int gets = 0;
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::get) return;
    if (++gets == 1) store_.drop(name_of(3));
    if (gets == 2) store_.place(name_of(3), content(4));
  });
  EXPECT_EQ(read(3), content(4));
  EXPECT_EQ(gets, 2);
}

TEST_F(PresenceDoubtTest, WhatIsKnownAtTheEndIsWhatIsCertain) {
  open_knowing({{{0, 10}, false}});
  write(3, content(3));
  EXPECT_EQ(read(20), zeros_);
  trim(30, 2);
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::put) throw Error(EIO, "lost");
  });
  EXPECT_THROW(write(5, content(5)), Error);
  volume_.reset();
  EXPECT_EQ(map_->known(), (KnownBlocks{{{0, 3}, false},
                                        {{3, 1}, true},
                                        {{4, 1}, false},
                                        {{6, 4}, false},
                                        {{20, 1}, false},
                                        {{30, 2}, false}}));
}

// --- Witnesses, where listings are proof ---

TEST_F(PresenceDoubtTest, AListingThatDoesNotShowItsWitnessIsNotBelieved) {
  store_.set_lists_are_proof(true);
  place(3);
  store_.place_text("disk/nbdstack-volume.json", "{}");
  hide_all_but({});
  LogOfErrors errors;
  open_knowing({}, "disk/nbdstack-volume.json");
  EXPECT_EQ(read(3), content(3));
  zero(kObject, 3 * kObject);
  EXPECT_FALSE(store_.body_of(name_of(3)).has_value());
  EXPECT_EQ(extents(9 * kObject, 0).front().type, kData) << "not believed here either";
  ASSERT_EQ(errors.all().size(), 1U);
  EXPECT_NE(errors.all().front().find("do not show disk/nbdstack-volume.json"), std::string::npos);
}

TEST_F(PresenceDoubtTest, AListingThatShowsItsWitnessIs) {
  store_.set_lists_are_proof(true);
  store_.place_text("disk/nbdstack-volume.json", "{}");
  open_knowing({}, "disk/nbdstack-volume.json");
  EXPECT_EQ(read(3), zeros_);
  trim(0, kDoubtBlocks);
  EXPECT_EQ(requests(), 0U);
}

// --- Without a lease ---

TEST_F(PresenceDoubtTest, WithoutAnOwnerZerosRemoveWhateverTheyCover) {
  for (const std::uint64_t block : {3U, 1500U}) place(block);
  hide_all_but({});
  volume_ =
      std::make_unique<Volume>(store_, format_, BlockGeometry(kDoubtBlocks * kObject, kObject),
                               VolumeOptions{.connections = 4});
  zero(2000 * kObject, 0);
  EXPECT_TRUE(store_.keys().empty());
  EXPECT_EQ(requests(), 2U);
  EXPECT_EQ(extents(9 * kObject, 0), (std::vector<Extent>{{{0, 9 * kObject}, kData}}));
}

}  // namespace
}  // namespace nbdstack
