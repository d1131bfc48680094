// What is remembered when this server may not be the disk's only writer any more.
#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

class Writers : public CacheextentsTest {
 protected:
  void SetUp() override {
    use_disk(kGiB);
    tell(WriteRight::held, {3, 3});
    shared = std::make_shared<CacheextentsState>(1000, kGiB, below->identity());
    known = &shared->known;
    layer = std::make_unique<CacheextentsLayer>(*below, shared);
  }

  void tell(WriteRight right, const WriterTerm& term) const {
    DiskIdentity identity;
    identity.id = "x";
    identity.size_bytes = kGiB;
    identity.term = term;
    identity.right = right;
    below->set_identity(identity);
  }
  // Another server writes: nothing passes through here.
  void another_writes() const { below->put({0, kMiB}, kData); }
};

TEST_F(Writers, ExtentsAreRememberedWhileTheRightIsHeld) {
  EXPECT_EQ(type_at(0), kHole);
  another_writes();
  EXPECT_EQ(type_at(0), kHole);
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Writers, QuestionsPassWhenTheRightIsNotCertain) {
  for (const WriteRight right : {WriteRight::doubtful, WriteRight::lost}) {
    below->put({0, kMiB}, kHole);
    tell(WriteRight::held, {3, 3});
    EXPECT_EQ(type_at(0), kHole);
    another_writes();
    tell(right, {3, 3});
    EXPECT_EQ(type_at(0), kData);
    EXPECT_EQ(known->runs(), 0U);
  }
}

TEST_F(Writers, NothingIsLearntWhenTheRightIsLostMeanwhile) {
  below->after([&](const Call& call) {
    if (call.op == Op::extents) tell(WriteRight::lost, {3, 3});
  });
  EXPECT_EQ(type_at(0), kHole);
  EXPECT_EQ(known->runs(), 0U);
  below->after(nullptr);
  tell(WriteRight::held, {3, 3});
  below->after([&](const Call& call) {
    if (call.op == Op::zero) tell(WriteRight::lost, {3, 3});
  });
  zero({0, kMiB}, false);
  EXPECT_EQ(known->runs(), 0U);
}

TEST_F(Writers, ExtentsOfAnEarlierTermAreForgotten) {
  EXPECT_EQ(type_at(0), kHole);
  another_writes();
  tell(WriteRight::held, {4, 3});
  EXPECT_EQ(type_at(0), kHole);
  tell(WriteRight::held, {6, 5});
  EXPECT_EQ(type_at(0), kData);
}

}  // namespace
}  // namespace nbdstack::testing
