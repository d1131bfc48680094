// What an md5-file says it is, and what is not one.
#include <gmock/gmock.h>

#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Eq;
using ::testing::HasSubstr;

class Md5FileIdentityTest : public ::testing::Test {
 protected:
  void SetUp() override { open_digests(disk); }

  void add_a_record() const {
    put_record(disk, {0},
               Md5FileRecord{.content = {md5(pattern(kBlock, 1)), kBlock}, .previous = {}});
  }
  void make_file(const std::string& text, std::size_t size) const {
    const auto made = disk.directory()->open("other");
    std::vector<std::byte> bytes(size);
    std::copy_n(std::as_bytes(std::span(text)).begin(), std::min(text.size(), size), bytes.begin());
    made->write_at(bytes, 0);
  }
  [[nodiscard]] std::optional<Md5File::Identity> identity_of(const char* name) const {
    return Md5File::identity_of(*disk.directory()->open(name));
  }
  [[nodiscard]] std::string refusal_of(const char* name) const {
    std::string message;
    EXPECT_EQ(error_of([&] { (void)identity_of(name); }, &message), EINVAL);
    EXPECT_THAT(message, HasSubstr(name));
    return message;
  }

  SimulatedDisk disk;
};

TEST_F(Md5FileIdentityTest, SaysWhatItIsFor) {
  const auto directory = disk.directory();
  const std::string name = "a name = 100% \n strange";
  const auto made = Md5File::create(*directory->open("other"), name, 512);
  const auto found = identity_of("other");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->export_name, name);
  EXPECT_EQ(found->block_size, 512);
  EXPECT_EQ(found->uuid, made.uuid);
  EXPECT_NE(found->uuid, identity_of(kFileName)->uuid);
}

TEST_F(Md5FileIdentityTest, EmptyFileIsNothingYet) {
  make_file("", 0);
  EXPECT_FALSE(identity_of("other").has_value());
}

TEST_F(Md5FileIdentityTest, CreationThatIsCutShortIsBegunAgain) {
  SimulatedDisk fresh;
  const auto directory = fresh.directory();
  std::size_t crashes = 0;
  std::size_t identified = 0;
  fresh.set_hook([&](const SimulatedDisk::Operation&) {
    for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed, ++crashes) {
      SimulatedDisk cut = fresh.copy();
      cut.crash(seed);
      const auto found = Md5File::identity_of(*cut.directory()->open(kFileName));
      identified += found ? 1 : 0;
      EXPECT_THAT(open_digests(cut)->load({0}, 4), Each(Eq(std::nullopt)));
    }
  });
  Md5File::create(*directory->open(kFileName), "disk", kBlock);
  fresh.set_hook({});
  EXPECT_GE(crashes, 3 * kCrashSeeds);
  EXPECT_LT(identified, crashes);
}

TEST_F(Md5FileIdentityTest, AnotherFileIsRefused) {
  make_file("QFI\xfb something else", 1U << 20U);
  EXPECT_THAT(refusal_of("other"), HasSubstr("is not an md5-file"));
  make_file("x", 1);
  EXPECT_THAT(refusal_of("other"), HasSubstr("is not an md5-file"));
}

// It may be a disk's image.
TEST_F(Md5FileIdentityTest, LargeFileThatBeginsWithZerosIsRefused) {
  make_file("", kRecords_offset + 1);
  EXPECT_THAT(refusal_of("other"), HasSubstr("is not an md5-file"));
}

// A torn creation leaves zeros behind the identity, and nothing else.
TEST_F(Md5FileIdentityTest, SmallFileThatBeginsWithZerosAndGoesOnIsRefused) {
  make_file(std::string(kIdentity_bytes, '\0') + "somebody's", kRecords_offset);
  EXPECT_THAT(refusal_of("other"), HasSubstr("is not an md5-file"));
}

TEST_F(Md5FileIdentityTest, DamagedIdentityIsRefusedWhereRecordsAreLost) {
  add_a_record();
  disk.overwrite(kFileName, 12, std::byte{'?'});
  EXPECT_TRUE(identity_of(kFileName).has_value());  // it is there twice
  disk.overwrite(kFileName, kIdentity_bytes / 2 + 12, std::byte{'?'});
  EXPECT_THAT(refusal_of(kFileName), AllOf(HasSubstr("damaged"), HasSubstr("remove it")));
}

TEST_F(Md5FileIdentityTest, AnotherVersionIsRefused) {
  add_a_record();
  std::string text = "md5-file=3\nexport=\nblock_size=4096\nuuid=1\n";
  text += fmt::format("check={:016x}\n", xxh3_64(std::as_bytes(std::span(text)), 0));
  std::vector<std::byte> bytes(kIdentity_bytes);
  std::copy_n(std::as_bytes(std::span(text)).begin(), text.size(), bytes.begin());
  disk.directory()->open(kFileName)->write_at(bytes, 0);
  EXPECT_THAT(refusal_of(kFileName), HasSubstr("of another version"));
}

// As versions up to 0.1.0 have written it: once, and of the first version.
TEST_F(Md5FileIdentityTest, FileOfTheFirstVersionIsRead) {
  std::string text = "md5-file=1\nexport=disk\nblock_size=4096\nuuid=1\n";
  text += fmt::format("check={:016x}\n", xxh3_64(std::as_bytes(std::span(text)), 0));
  make_file(text, kRecords_offset);
  Md5FileIdentity expected;
  expected.export_name = "disk";
  expected.block_size = 4096;
  expected.uuid = "1";
  EXPECT_EQ(identity_of("other"), expected);
}

TEST_F(Md5FileIdentityTest, WhatNeedsNoMoreIsOfTheFirstVersion) {
  std::vector<std::byte> begin(10);
  disk.directory()->open(kFileName)->read_at(begin, 0);
  EXPECT_EQ(std::memcmp(begin.data(), "md5-file=1", 10), 0);
}

// Wherever the machine stops, the file has the old identity or the new one.
TEST_F(Md5FileIdentityTest, AnotherIdentityTakesThePlaceOfTheOldOneInOnePiece) {
  const Md5FileIdentity old = *identity_of(kFileName);
  Md5FileIdentity wanted = old;
  wanted.disk_id = "s3-1";
  wanted.term = 7;
  wanted.generation = 2;
  add_a_record();
  std::size_t crashes = 0;
  disk.set_hook([&](const SimulatedDisk::Operation&) {
    for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed, ++crashes) {
      SimulatedDisk cut = disk.copy();
      cut.crash(seed);
      const auto found = Md5File::identity_of(*cut.directory()->open(kFileName));
      ASSERT_TRUE(found == old || found == wanted);
    }
  });
  replace_identity(*disk.directory()->open(kFileName), wanted);
  disk.set_hook({});
  EXPECT_GE(crashes, 4 * kCrashSeeds);
  EXPECT_EQ(identity_of(kFileName), wanted);
}

TEST_F(Md5FileIdentityTest, NameThatDoesNotFitIsRefused) {
  const auto directory = disk.directory();
  std::string message;
  EXPECT_EQ(error_of(
                [&] {
                  Md5File::create(*directory->open("other"), std::string(kIdentity_bytes, 'n'),
                                  512);
                },
                &message),
            EINVAL);
  EXPECT_THAT(message, HasSubstr("name is too long"));
}

}  // namespace
}  // namespace nbdstack::testing
