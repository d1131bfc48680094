// Whether what a directory holds is true of the disk that is served: every row of the table in
// directory_trust.hpp.
#include <gtest/gtest.h>

#include "filters/cache/store/durable/directory_trust.hpp"

namespace nbdstack::testing {
namespace {

using Level = Trust::Level;

CacheIdentity found(std::string disk, std::optional<std::uint64_t> term, bool alone = true) {
  return {.export_name = "",
          .disk_size_bytes = 1U << 20U,
          .block_size_bytes = 65536,
          .cache_id = "",
          .disk_id = std::move(disk),
          .term = term,
          .alone = alone};
}

DiskIdentity told(std::string id, std::optional<WriterTerm> term, WriteRight right) {
  return {.id = std::move(id), .size_bytes = 1U << 20U, .term = term, .right = right};
}

Level level(const CacheIdentity& there, const DiskIdentity& here) {
  return trust_in(there, &here).level;
}

TEST(DirectoryTrust, WithoutAnIdOnBothSidesContentIsCompared) {
  EXPECT_EQ(trust_in(found("", {}), nullptr).level, Level::compare);
  EXPECT_EQ(trust_in(found("a", 5), nullptr).level, Level::compare);
  EXPECT_EQ(level(found("", {}), told("a", WriterTerm{5, 5}, WriteRight::held)), Level::compare);
}

TEST(DirectoryTrust, AnotherDiskIsNamed) {
  const DiskIdentity here = told("b", WriterTerm{5, 5}, WriteRight::held);
  const Trust trust = trust_in(found("a", 5), &here);
  EXPECT_EQ(trust.level, Level::another_disk);
  EXPECT_NE(trust.because.find("disk a"), std::string::npos);
  EXPECT_NE(trust.because.find("is b"), std::string::npos);
}

TEST(DirectoryTrust, TheOnlyWriterTrustsWhatNobodyElseHasChangedSince) {
  for (const WriteRight right : {WriteRight::held, WriteRight::doubtful}) {
    EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{5, 5}, right)), Level::all);
    EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{9, 5}, right)), Level::all);
    EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{9, 4}, right)), Level::all);
    EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{9, 6}, right)), Level::nothing);
  }
}

TEST(DirectoryTrust, AReaderTrustsNothingOfAnEarlierTerm) {
  EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{5, 3}, WriteRight::none)), Level::all);
  EXPECT_EQ(level(found("a", 5), told("a", WriterTerm{6, 5}, WriteRight::none)), Level::nothing);
}

TEST(DirectoryTrust, WhatWasReadBesideAWriterIsNotTrusted) {
  EXPECT_EQ(level(found("a", 5, false), told("a", WriterTerm{5, 5}, WriteRight::held)),
            Level::dirty);
  EXPECT_EQ(level(found("a", 5, false), told("a", WriterTerm{9, 6}, WriteRight::held)),
            Level::nothing);
}

TEST(DirectoryTrust, ADirectoryThatIsNewerThanTheDiskSaysSo) {
  const DiskIdentity here = told("a", WriterTerm{4, 4}, WriteRight::held);
  const Trust trust = trust_in(found("a", 5), &here);
  EXPECT_EQ(trust.level, Level::nothing);
  EXPECT_NE(trust.because.find("restored"), std::string::npos);
}

TEST(DirectoryTrust, ATermThatTheDiskHasForgottenSaysSo) {
  const WriterTerm terms{.term = 9, .since = 4, .unchanged = {{6, 8}}};
  EXPECT_EQ(level(found("a", 6), told("a", terms, WriteRight::held)), Level::all);
  const DiskIdentity here = told("a", terms, WriteRight::held);
  const Trust trust = trust_in(found("a", 7), &here);
  EXPECT_EQ(trust.level, Level::nothing);
  EXPECT_NE(trust.because.find("older copy"), std::string::npos);
}

TEST(DirectoryTrust, TermsThatNobodyCountsProveNothing) {
  EXPECT_EQ(level(found("a", 5), told("a", {}, WriteRight::none)), Level::nothing);
  EXPECT_EQ(level(found("a", {}), told("a", WriterTerm{5, 5}, WriteRight::held)), Level::nothing);
}

}  // namespace
}  // namespace nbdstack::testing
