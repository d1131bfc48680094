#include "common/block/disk_identity.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack {
namespace {

const DiskIdentity kWritten{.id = "s3-0f1e",
                            .size_bytes = 1 << 20,
                            .term = WriterTerm{.term = 7, .since = 5},
                            .right = WriteRight::held};

TEST(DiskIdentity, IsWrittenAndReadBack) {
  EXPECT_EQ(kWritten.to_text(), "nbdstack-disk id=s3-0f1e size=1048576 term=7 since=5 right=held");
  for (const auto right :
       {WriteRight::none, WriteRight::held, WriteRight::doubtful, WriteRight::lost}) {
    DiskIdentity identity = kWritten;
    identity.right = right;
    EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
    identity.term->unchanged.emplace();
    EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
    identity.term->unchanged = {6};
    EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
    identity.term = WriterTerm{.term = 99, .since = 5, .unchanged = {{6, 17, 98}}};
    EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
    identity.term.reset();
    EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
  }
}

TEST(DiskIdentity, TheServerIsToldWhereItIsKnown) {
  DiskIdentity identity = kWritten;
  identity.server = "9d4e";
  EXPECT_EQ(identity.to_text(), kWritten.to_text() + " server=9d4e");
  EXPECT_EQ(DiskIdentity::parse(identity.to_text()), identity);
}

TEST(DiskIdentity, FieldsOfALaterVersionAreIgnored) {
  EXPECT_EQ(DiskIdentity::parse(kWritten.to_text() + " colour=blue"), kWritten);
}

TEST(DiskIdentity, AnyOtherDescriptionTellsNothing) {
  for (const char* const text :
       {"",
        "a disk",
        "nbdstack-disk",
        "nbdstack-disk ",
        "nbdstack-disk id=a size=1",
        "nbdstack-disks id=a size=1 right=held",
        "nbdstack-disk id= size=1 right=held",
        "nbdstack-disk id=a/b size=1 right=held",
        "nbdstack-disk id=a size=x right=held",
        "nbdstack-disk id=a size=1 right=perhaps",
        "nbdstack-disk id=a size=1 right=held term=1",
        "nbdstack-disk id=a size=1 right=held since=1",
        "nbdstack-disk id=a size=1 right=held term=1 since=2",
        "nbdstack-disk id=a size=1 right=held term=7 since=5 unchanged=",
        "nbdstack-disk id=a size=1 right=held term=7 since=5 unchanged=5",
        "nbdstack-disk id=a size=1 right=held term=7 since=5 unchanged=7",
        "nbdstack-disk id=a size=1 right=held term=9 since=5 unchanged=8,6",
        "nbdstack-disk id=a size=1 right=held term=9 since=5 unchanged=6,,8",
        "nbdstack-disk id=a size=1 right=held term=9 since=5 unchanged=6,none",
        "nbdstack-disk id=a id=b size=1 right=held",
        "nbdstack-disk id=a  size=1 right=held",
        "nbdstack-disk id=a size=1 right=held word"}) {
    EXPECT_EQ(DiskIdentity::parse(text), std::nullopt) << text;
  }
  EXPECT_EQ(DiskIdentity::parse("nbdstack-disk size=1 right=held id=" + std::string(129, 'a')),
            std::nullopt);
}

TEST(WriterTerm, WhatWasTrueIsTrueUntilSomebodyElseChangedSomething) {
  const WriterTerm now{.term = 7, .since = 5};
  EXPECT_TRUE(now.still_true(7));
  EXPECT_TRUE(now.still_true(5));
  EXPECT_FALSE(now.still_true(4));
  // A memory of a term that has not begun is of another history of the disk.
  EXPECT_FALSE(now.still_true(8));
}

TEST(WriterTerm, WhereTheTermsAreToldOthersAreOfAHistoryThatTheDiskHasForgotten) {
  EXPECT_TRUE((WriterTerm{.term = 9, .since = 5}).still_true(7));
  const WriterTerm now{.term = 9, .since = 5, .unchanged = {{6, 8}}};
  for (const std::uint64_t term : {5, 6, 8, 9}) EXPECT_TRUE(now.still_true(term)) << term;
  for (const std::uint64_t term : {4, 7, 10}) EXPECT_FALSE(now.still_true(term)) << term;
}

TEST(IdentityOf, ALayerThatShowsAPartOfTheDiskTellsNothing) {
  testing::FakeLayer whole(1 << 20);
  whole.set_identity(kWritten);
  ASSERT_NE(identity_of(whole), nullptr);
  EXPECT_EQ(*identity_of(whole), kWritten);

  testing::FakeLayer part(1 << 19);
  part.set_identity(kWritten);
  EXPECT_EQ(identity_of(part), nullptr);
}

TEST(IdentityOf, NothingIsKnownOfALayerThatTellsNothing) {
  testing::FakeLayer layer(1 << 20);
  EXPECT_EQ(identity_of(layer), nullptr);
}

}  // namespace
}  // namespace nbdstack
