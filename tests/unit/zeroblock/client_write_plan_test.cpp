// What a write becomes, as a table.
#include "filters/zeroblock/client_write_plan.hpp"

#include <gmock/gmock.h>

#include <string>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::zeroblock {

// For GoogleTest's messages.
static void PrintTo(const Step& step, std::ostream* stream) {
  *stream << (step.kind == Step::Kind::data ? "data " : "zeros ") << step.range.offset << "+"
          << step.range.length;
}

}  // namespace nbdstack::zeroblock

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using zeroblock::plan_write;
using zeroblock::PlanOptions;
using zeroblock::Step;
using zeroblock::WritePlan;

constexpr PlanOptions kEverything{.may_drop = true, .can_zero = true};

Step data(const Range& range) {
  return {Step::Kind::data, range};
}
Step zeros(const Range& range) {
  return {Step::Kind::zeros, range};
}

class ClientWritePlanTest : public ::testing::Test {
 protected:
  // Whole blocks from block 1 on: '0' zeros, 'x' data.
  [[nodiscard]] WritePlan plan(const std::string& content, const std::vector<Extent>& before = {},
                               const PlanOptions& options = kEverything) const {
    Bytes written;
    for (const char block : content) {
      written.insert(written.end(), kBlock, block == 'x' ? std::byte{5} : std::byte{0});
    }
    return plan_write(geometry, {kBlock, written.size()}, written, kBlock, before, options);
  }
  // A part of the disk, of zeros or data, widened over `before`.
  [[nodiscard]] WritePlan plan_part(const Range& range, std::byte value,
                                    const std::vector<Extent>& before,
                                    const PlanOptions& options = kEverything) const {
    return plan_write(geometry, zeroblock::widened_over_zeros(geometry, range, before),
                      Bytes(range.length, value), range.offset, before, options);
  }
  static std::vector<Extent> contents(const WritePlan& plan) {
    std::vector<Extent> extents;
    for (const auto& content : plan.contents) {
      extents.push_back({content.range, content.type.value()});
    }
    return extents;
  }

  BlockGeometry geometry{kDiskSize, kBlock};
};

TEST_F(ClientWritePlanTest, BlocksOfOneKindAreOneRequest) {
  EXPECT_THAT(plan("xxxx").steps, ElementsAre(data(blocks(1, 4))));
  EXPECT_THAT(plan("0000").steps, ElementsAre(zeros(blocks(1, 4))));
  EXPECT_THAT(contents(plan("0000")), ElementsAre(Extent{blocks(1, 4), kHole}));
}

TEST_F(ClientWritePlanTest, AWriteIsSplitWhereZerosBegin) {
  const WritePlan made = plan("x00xx0");
  EXPECT_THAT(made.steps, ElementsAre(data(blocks(1)), zeros(blocks(2, 2)), data(blocks(4, 2)),
                                      zeros(blocks(6))));
  EXPECT_THAT(contents(made), ElementsAre(Extent{blocks(1), kData}, Extent{blocks(2, 2), kHole},
                                          Extent{blocks(4, 2), kData}, Extent{blocks(6), kHole}));
}

TEST_F(ClientWritePlanTest, KnownZerosAreDroppedAndStayWhatTheyAre) {
  const WritePlan made = plan("x00x", {{blocks(2, 2), kStoredZeros}});
  EXPECT_THAT(made.steps, ElementsAre(data(blocks(1)), data(blocks(4))));
  EXPECT_THAT(contents(made),
              ElementsAre(Extent{blocks(1), kData}, Extent{blocks(2, 2), kStoredZeros},
                          Extent{blocks(4), kData}));
}

TEST_F(ClientWritePlanTest, ZerosAreDroppedAtTheEndsOfARunAndNotCutOutOfIt) {
  const std::vector<Extent> before{
      {blocks(1), kHole}, {blocks(3), kHole}, {blocks(5), kHole}, {blocks(6), kStoredZeros}};
  const WritePlan made = plan("000000", before);
  EXPECT_THAT(made.steps, ElementsAre(zeros(blocks(2, 3))));
  EXPECT_THAT(contents(made),
              ElementsAre(Extent{blocks(1), kHole}, Extent{blocks(5), kHole},
                          Extent{blocks(6), kStoredZeros}, Extent{blocks(2, 3), kHole}));
}

TEST_F(ClientWritePlanTest, WhatMayNotBeDroppedIsSent) {
  const WritePlan made = plan("00", {{blocks(1, 2), kHole}}, {.may_drop = false, .can_zero = true});
  EXPECT_THAT(made.steps, ElementsAre(zeros(blocks(1, 2))));
}

TEST_F(ClientWritePlanTest, ZerosOverALayerWithoutZerosAreWrittenWithTheirNeighbours) {
  const PlanOptions options{.may_drop = true, .can_zero = false};
  const WritePlan made = plan("x00x", {}, options);
  EXPECT_THAT(made.steps, ElementsAre(data(blocks(1, 4))));
  EXPECT_THAT(contents(made),
              ElementsAre(Extent{blocks(1), kData}, Extent{blocks(2, 2), kStoredZeros},
                          Extent{blocks(4), kData}));
  EXPECT_THAT(plan("00", {{blocks(1, 2), kHole}}, options).steps, IsEmpty());
}

TEST_F(ClientWritePlanTest, APartOfABlockOfZerosIsWrittenAsTheWhole) {
  const Range part{2 * kBlock + 100, 50};
  const WritePlan made = plan_part(part, std::byte{5}, {{blocks(2), kHole}});
  EXPECT_THAT(made.steps, ElementsAre(data(blocks(2))));
  EXPECT_THAT(contents(made), ElementsAre(Extent{blocks(2), kData}));
}

TEST_F(ClientWritePlanTest, APartOfZerosInABlockOfZerosIsDropped) {
  const WritePlan made = plan_part({2 * kBlock + 100, 50}, std::byte{0}, {{blocks(2), kHole}});
  EXPECT_THAT(made.steps, IsEmpty());
  EXPECT_THAT(contents(made), ElementsAre(Extent{blocks(2), kHole}));
}

TEST_F(ClientWritePlanTest, APartOfAnyOtherBlockGoesDownAsItIs) {
  const Range part{2 * kBlock + 100, 50};
  for (const std::byte value : {std::byte{0}, std::byte{5}}) {
    const WritePlan made = plan_part(part, value, {});
    EXPECT_THAT(made.steps, ElementsAre(data(part)));
    EXPECT_THAT(made.contents, IsEmpty()) << "data stays data, and unknown unknown";
  }
}

TEST_F(ClientWritePlanTest, PartsAtTheEndsJoinTheirNeighbours) {
  const Range range{2 * kBlock + 100, 3 * kBlock};  // parts of blocks 2 and 5
  EXPECT_THAT(plan_part(range, std::byte{5}, {}).steps, ElementsAre(data(range)));
  EXPECT_THAT(plan_part(range, std::byte{5}, {{blocks(2), kHole}, {blocks(5), kHole}}).steps,
              ElementsAre(data(blocks(2, 4))));
  EXPECT_THAT(plan_part(range, std::byte{0}, {{blocks(2), kHole}}).steps,
              ElementsAre(zeros(blocks(3, 2)), data({5 * kBlock, 100})));
}

TEST_F(ClientWritePlanTest, TheShortLastBlockIsABlock) {
  const Range last = blocks(kBlocks);
  EXPECT_EQ(last.length, kTail);
  EXPECT_THAT(plan_part(last, std::byte{0}, {}).steps, ElementsAre(zeros(last)));
  EXPECT_THAT(plan_part({last.offset, 10}, std::byte{5}, {{last, kHole}}).steps,
              ElementsAre(data(last)));
}

}  // namespace
}  // namespace nbdstack::testing
