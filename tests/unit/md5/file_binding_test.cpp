// Which disk an md5-file may be used for, and what its digests are worth there.
#include "filters/md5/file_binding.hpp"

#include <gmock/gmock.h>

#include "common/error.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::HasSubstr;
using Worth = FileBinding::Worth;

ShownDisk unknown() {
  return {kDiskSize, nullptr};
}
ShownDisk known(const std::string& id, std::optional<WriterTerm> term = std::nullopt) {
  DiskIdentity identity;
  identity.id = id;
  identity.size_bytes = kDiskSize;
  identity.term = term;
  identity.right = WriteRight::held;
  return {kDiskSize, std::make_shared<const DiskIdentity>(identity)};
}

Md5FileIdentity file_of(const std::string& disk, std::optional<std::uint64_t> term = std::nullopt) {
  Md5FileIdentity identity;
  identity.export_name = "a";
  identity.block_size = kBlock;
  identity.uuid = "1";
  identity.disk_id = disk;
  identity.term = term;
  return identity;
}

FileBinding bound(const std::optional<Md5FileIdentity>& found, const std::string& name,
                  const ShownDisk& disk) {
  return bind_file(found, "/file", name, disk, kBlock);
}
std::string refusal(const Md5FileIdentity& found, const std::string& name, const ShownDisk& disk) {
  std::string message;
  EXPECT_EQ(error_of([&] { (void)bound(found, name, disk); }, &message), EINVAL);
  EXPECT_THAT(message, HasSubstr("md5-file /file "));
  EXPECT_THAT(message, HasSubstr("a file of its own"));
  return message;
}

TEST(FileBindingTest, ANewFileIsBoundToTheDiskThatIsKnown) {
  const FileBinding binding = bound(std::nullopt, "a", known("x", WriterTerm{3, 2}));
  EXPECT_TRUE(binding.is_new);
  EXPECT_EQ(binding.identity.disk_id, "x");
  EXPECT_EQ(binding.identity.term, 3U);
  EXPECT_EQ(binding.identity.block_size, kBlock);
}

TEST(FileBindingTest, OverAnUnknownDiskTheNameDecidesAndBlocksAreCompared) {
  EXPECT_EQ(bound(file_of(""), "a", unknown()).worth, Worth::compared);
  EXPECT_THAT(refusal(file_of(""), "b\n", unknown()), HasSubstr("cannot serve 'b\\x0a'"));
}

TEST(FileBindingTest, AKnownDiskHasItsFileUnderEveryName) {
  const FileBinding binding = bound(file_of("x", 3), "b", known("x", WriterTerm{3, 3}));
  EXPECT_EQ(binding.worth, Worth::as_they_are);
  EXPECT_EQ(binding.identity, file_of("x", 3));
}

TEST(FileBindingTest, AnotherDiskOrOneThatIsNotToldIsRefused) {
  EXPECT_THAT(refusal(file_of("x"), "a", known("y")), HasSubstr("the disk x, and export 'a' is"));
  EXPECT_THAT(refusal(file_of("x"), "a", unknown()), HasSubstr("does not tell which disk"));
}

TEST(FileBindingTest, AnOlderFileIsBoundToTheDiskThatItIsComparedWith) {
  const FileBinding same = bound(file_of(""), "a", known("x", WriterTerm{3, 3}));
  EXPECT_EQ(same.worth, Worth::compared);
  EXPECT_FALSE(same.needs_a_match);
  EXPECT_EQ(same.identity, file_of("x", 3));
  EXPECT_TRUE(bound(file_of(""), "b", known("x")).needs_a_match);
}

TEST(FileBindingTest, DigestsAreGoodAsLongAsNobodyElseWrote) {
  const FileBinding binding = bound(file_of("x", 3), "a", known("x", WriterTerm{5, 3}));
  EXPECT_EQ(binding.worth, Worth::as_they_are);
  EXPECT_EQ(binding.identity, file_of("x", 5));
}

TEST(FileBindingTest, DigestsAreDoubtfulAfterOthersWrote) {
  const FileBinding binding = bound(file_of("x", 3), "a", known("x", WriterTerm{6, 5}));
  EXPECT_EQ(binding.worth, Worth::doubtful);
  EXPECT_EQ(binding.identity.generation, 1U);
  EXPECT_EQ(binding.identity.term, 6U);
  EXPECT_THAT(binding.reason,
              HasSubstr("another server has written to it since, or it was brought back"));
}

TEST(FileBindingTest, DigestsAreDoubtfulWhereTheDiskHasForgottenTheirTerm) {
  const WriterTerm terms{.term = 9, .since = 2, .unchanged = {{4, 8}}};
  EXPECT_EQ(bound(file_of("x", 4), "a", known("x", terms)).worth, Worth::as_they_are);
  EXPECT_EQ(bound(file_of("x", 3), "a", known("x", terms)).worth, Worth::doubtful);
}

TEST(FileBindingTest, DigestsAreDoubtfulWhereTheDiskIsOlder) {
  const FileBinding binding = bound(file_of("x", 9), "a", known("x", WriterTerm{6, 5}));
  EXPECT_EQ(binding.worth, Worth::doubtful);
  EXPECT_THAT(binding.reason, HasSubstr("brought back from an older copy"));
}

TEST(FileBindingTest, DigestsAreDoubtfulWhereNobodyCounted) {
  EXPECT_EQ(bound(file_of("x"), "a", known("x", WriterTerm{6, 5})).worth, Worth::doubtful);
  EXPECT_EQ(bound(file_of("x", 3), "a", known("x")).worth, Worth::doubtful);
  EXPECT_EQ(bound(file_of("x"), "a", known("x")).worth, Worth::as_they_are);
}

}  // namespace
}  // namespace nbdstack::testing
