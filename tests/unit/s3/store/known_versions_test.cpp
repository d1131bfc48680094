#include "plugins/s3/store/known_versions.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

const std::string kOne = "\"0123456789abcdef0123456789abcdef\"";
const std::string kTwo = "\"ffffffffffffffffffffffffffffff00\"";

TEST(KnownVersions, GiveBackWhatAnAnswerHasTold) {
  KnownVersions versions;
  EXPECT_FALSE(versions.find({7}).version.is_known());
  versions.set({7}, ObjectVersion::of(kOne));
  versions.set({8}, ObjectVersion::absent());
  EXPECT_EQ(versions.find({7}).version, ObjectVersion::of(kOne));
  EXPECT_TRUE(versions.find({7}).is_certain);
  EXPECT_TRUE(versions.find({8}).version.is_absent());
  EXPECT_FALSE(versions.find({9}).version.is_known());
}

TEST(KnownVersions, KeepEtagsThatAreNoDigestsAsTheyAre) {
  KnownVersions versions;
  for (const std::string etag :
       {"\"0123456789ABCDEF0123456789ABCDEF\"", "\"0123456789abcdef0123456789abcdef-3\"",
        "0123456789abcdef0123456789abcdef", "W/\"1\"", "\"\""}) {
    versions.set({1}, ObjectVersion::of(etag));
    EXPECT_EQ(versions.find({1}).version.etag(), etag);
  }
  versions.set({1}, ObjectVersion::of(kTwo));
  EXPECT_EQ(versions.find({1}).version.etag(), kTwo);
}

TEST(KnownVersions, AListingFillsInWhatNobodyHasToldAndNothingElse) {
  KnownVersions versions;
  versions.learn({1}, kOne);
  EXPECT_EQ(versions.find({1}).version, ObjectVersion::of(kOne));
  EXPECT_FALSE(versions.find({1}).is_certain);
  versions.set({1}, ObjectVersion::of(kTwo));
  versions.learn({1}, kOne);
  EXPECT_EQ(versions.find({1}).version, ObjectVersion::of(kTwo));
  versions.set({2}, ObjectVersion::absent());
  versions.learn({2}, kOne);
  EXPECT_TRUE(versions.find({2}).version.is_absent());
  versions.learn({3}, "\"opaque\"");
  EXPECT_FALSE(versions.find({3}).version.is_known());
}

TEST(KnownVersions, AListingThatIsOlderThanAChangeOfUnknownFateIsNotBelieved) {
  KnownVersions versions;
  versions.forget({1});
  versions.learn({1}, kOne);
  EXPECT_FALSE(versions.find({1}).version.is_known());
}

TEST(KnownVersions, ADisputeLastsUntilAReadOrAChangeHasEndedIt) {
  KnownVersions versions;
  EXPECT_FALSE(versions.accept({7}, ObjectVersion::of(kTwo)));
  for (const bool by_a_change : {false, true}) {
    versions.set({7}, ObjectVersion::of(kOne));
    EXPECT_FALSE(versions.is_disputed({7}));
    EXPECT_TRUE(versions.dispute({7}));
    EXPECT_FALSE(versions.dispute({7}));
    versions.forget({7});  // a change is tried, and refused
    versions.set({7}, ObjectVersion::of(kOne));
    EXPECT_TRUE(versions.is_disputed({7}));
    EXPECT_FALSE(versions.is_disputed({8}));
    EXPECT_TRUE(by_a_change ? versions.settle({7}, ObjectVersion::of(kTwo))
                            : versions.accept({7}, ObjectVersion::of(kTwo)));
    EXPECT_EQ(versions.find({7}).version, ObjectVersion::of(kTwo));
    EXPECT_FALSE(versions.accept({7}, ObjectVersion::of(kOne))) << "an old read";
    EXPECT_EQ(versions.find({7}).version, ObjectVersion::of(kTwo));
  }
}

TEST(KnownVersions, ADisputeGoesWithWhatWasKnown) {
  KnownVersions versions(1);
  versions.set({7}, ObjectVersion::of(kOne));
  versions.dispute({7});
  versions.set({1000}, ObjectVersion::of(kOne));
  EXPECT_FALSE(versions.is_disputed({7}));
  versions.set({7}, ObjectVersion::of(kTwo));
  EXPECT_FALSE(versions.is_disputed({7}));
}

TEST(KnownVersions, AreBoundedAndBelieveNoListingOnceSomethingWent) {
  constexpr std::uint64_t kGroup = KnownVersions::kBlocksPerGroup;
  KnownVersions versions(2);
  versions.set({0}, ObjectVersion::of(kOne));
  versions.set({kGroup}, ObjectVersion::of("\"long\""));
  versions.learn({2 * kGroup}, kOne);  // there is no room for what was only listed
  EXPECT_FALSE(versions.find({2 * kGroup}).version.is_known());
  versions.set({2 * kGroup}, ObjectVersion::of(kTwo));
  unsigned known = 0;
  for (std::uint64_t group = 0; group < 3; ++group) {
    if (versions.find({group * kGroup}).version.is_known()) ++known;
  }
  EXPECT_EQ(known, 2U);
  versions.learn({2 * kGroup + 1}, kOne);
  EXPECT_FALSE(versions.find({2 * kGroup + 1}).version.is_known());
}

}  // namespace
}  // namespace nbdstack
