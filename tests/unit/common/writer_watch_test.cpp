// When what is remembered of a disk is used, and when it is forgotten.
#include "common/block/writer_watch.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack {
namespace {

using testing::FakeLayer;

constexpr std::uint64_t kDisk_bytes = 4096;

DiskIdentity disk(WriteRight right, std::optional<WriterTerm> term = WriterTerm{3, 3}) {
  DiskIdentity identity;
  identity.id = "x";
  identity.size_bytes = kDisk_bytes;
  identity.term = std::move(term);
  identity.right = right;
  return identity;
}

class WriterWatchTest : public ::testing::Test {
 protected:
  void begin(const std::optional<DiskIdentity>& identity,
             WriterWatch::InDoubt in_doubt = WriterWatch::InDoubt::forget) {
    below_.set_identity(identity);
    watch_.emplace(
        below_.identity(), [this](const DiskIdentity*) { ++forgotten_; }, in_doubt);
  }
  bool trusts(const std::optional<DiskIdentity>& identity) {
    below_.set_identity(identity);
    return watch_->trusts(below_);
  }

  FakeLayer below_{kDisk_bytes};
  int forgotten_ = 0;
  std::optional<WriterWatch> watch_;
};

TEST_F(WriterWatchTest, AWriterTrustsWhatItRemembers) {
  begin(disk(WriteRight::held));
  EXPECT_TRUE(trusts(disk(WriteRight::held)));
  EXPECT_EQ(forgotten_, 0);
}

TEST_F(WriterWatchTest, WithoutTheRightNothingIsUsed) {
  for (const WriteRight right : {WriteRight::doubtful, WriteRight::lost}) {
    begin(disk(WriteRight::held));
    forgotten_ = 0;
    EXPECT_FALSE(trusts(disk(right)));
    EXPECT_EQ(forgotten_, 1);
  }
}

TEST_F(WriterWatchTest, WhatWasRememberedMeanwhileIsForgottenWhenTheRightIsBack) {
  begin(disk(WriteRight::held));
  EXPECT_FALSE(trusts(disk(WriteRight::doubtful)));
  forgotten_ = 0;
  EXPECT_TRUE(trusts(disk(WriteRight::held)));
  EXPECT_EQ(forgotten_, 1);
  EXPECT_TRUE(trusts(disk(WriteRight::held)));
  EXPECT_EQ(forgotten_, 1);
}

TEST_F(WriterWatchTest, ANewTermForgetsUnlessNobodyWroteInBetween) {
  begin(disk(WriteRight::held, WriterTerm{3, 3}));
  EXPECT_TRUE(trusts(disk(WriteRight::held, WriterTerm{4, 3})));
  EXPECT_EQ(forgotten_, 0);
  EXPECT_TRUE(trusts(disk(WriteRight::held, WriterTerm{6, 5})));
  EXPECT_EQ(forgotten_, 1);
  EXPECT_TRUE(trusts(disk(WriteRight::held, WriterTerm{6, 5})));
  EXPECT_EQ(forgotten_, 1);
}

TEST_F(WriterWatchTest, AReaderForgetsWhenTheTermBeginsToBeCounted) {
  begin(disk(WriteRight::none, std::nullopt));
  EXPECT_TRUE(trusts(disk(WriteRight::none, std::nullopt)));
  EXPECT_EQ(forgotten_, 0);
  EXPECT_TRUE(trusts(disk(WriteRight::none, WriterTerm{1, 0})));
  EXPECT_EQ(forgotten_, 1);
}

TEST_F(WriterWatchTest, AnotherDiskOrNoneAnyMoreIsNotTrusted) {
  begin(disk(WriteRight::held));
  EXPECT_FALSE(trusts(std::nullopt));
  DiskIdentity other = disk(WriteRight::held);
  other.id = "y";
  EXPECT_FALSE(trusts(other));
  EXPECT_EQ(forgotten_, 2);
}

TEST_F(WriterWatchTest, WhatIsSetAsideComesBackIfNobodyWroteInBetween) {
  begin(disk(WriteRight::held), WriterWatch::InDoubt::set_aside);
  EXPECT_FALSE(trusts(disk(WriteRight::doubtful)));
  EXPECT_TRUE(trusts(disk(WriteRight::held)));
  EXPECT_FALSE(trusts(disk(WriteRight::lost)));
  EXPECT_TRUE(trusts(disk(WriteRight::held, WriterTerm{4, 3})));
  EXPECT_EQ(forgotten_, 0);
  EXPECT_FALSE(trusts(disk(WriteRight::lost, WriterTerm{4, 3})));
  EXPECT_TRUE(trusts(disk(WriteRight::held, WriterTerm{6, 5})));
  EXPECT_EQ(forgotten_, 1);
}

TEST_F(WriterWatchTest, WhatIsSetAsideIsForgottenWhereNobodyCounts) {
  begin(disk(WriteRight::held, std::nullopt), WriterWatch::InDoubt::set_aside);
  EXPECT_FALSE(trusts(disk(WriteRight::doubtful, std::nullopt)));
  EXPECT_EQ(forgotten_, 0);
  EXPECT_TRUE(trusts(disk(WriteRight::held, std::nullopt)));
  EXPECT_EQ(forgotten_, 1);
}

TEST_F(WriterWatchTest, ADiskThatTellsNothingIsNotAsked) {
  begin(std::nullopt);
  EXPECT_TRUE(trusts(std::nullopt));
  EXPECT_TRUE(trusts(disk(WriteRight::lost)));
  EXPECT_EQ(forgotten_, 0);
}

}  // namespace
}  // namespace nbdstack
