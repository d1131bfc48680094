// The cache's own file fails: nothing is lost, and requests pass through. A limit on the size of
// files stands for a full disk.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheStorage : public CacheTest {
 protected:
  void SetUp() override {
    settings.cache_on_read = [] { return true; };
    std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for this signal
    ::getrlimit(RLIMIT_FSIZE, &unlimited_);
  }
  void TearDown() override { ::setrlimit(RLIMIT_FSIZE, &unlimited_); }
  void let_files_grow_to(std::uint64_t size_bytes) {
    rlimit limited = unlimited_;
    limited.rlim_cur = size_bytes;
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }

  // The cache's file loses all it holds, as a broken disk would: reading it fails.
  static void cut_off_cache_file() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const auto target = std::filesystem::read_symlink(entry.path(), gone);
      if (target.string().find("/nbdstack-cache") == std::string::npos) continue;
      ASSERT_EQ(::truncate(entry.path().c_str(), 0), 0);
    }
  }

 private:
  rlimit unlimited_{};
};

TEST_F(CacheStorage, ReadsPassThroughWhenTheDiskIsFull) {
  layer();
  let_files_grow_to(2 * kBlock);
  const auto content = pattern(kDiskSize, 1);
  below.pwrite(content, 0, Durability::on_flush);
  EXPECT_EQ(read({0, kDiskSize}), content);
  EXPECT_EQ(read({0, kDiskSize}), content);
  EXPECT_LE(cache().cached_bytes(), 2 * kBlock);
}

TEST_F(CacheStorage, WritesPassThroughWhenTheDiskIsFull) {
  layer();
  let_files_grow_to(2 * kBlock);
  const auto content = pattern(kDiskSize, 2);
  write(content, 0);
  EXPECT_EQ(read({0, kDiskSize}), content);
  layer().flush();
  EXPECT_EQ(below.content(), content);
}

TEST_F(CacheStorage, PartialWritesPassThroughWhenTheDiskIsFull) {
  layer();
  let_files_grow_to(0);
  below.fill(block(3), std::byte{1});
  write(pattern(100, 2), block(3).offset + 10);
  auto expected = std::vector<std::byte>(kBlock, std::byte{1});
  const auto data = pattern(100, 2);
  std::copy(data.begin(), data.end(), expected.begin() + 10);
  EXPECT_EQ(read(block(3)), expected);
  EXPECT_EQ(below.content(block(3)), expected);
}

TEST_F(CacheStorage, WhatWasDirtyBeforeTheDiskWasFullIsStillWrittenBack) {
  write(pattern(2 * kBlock, 1), 0);
  let_files_grow_to(2 * kBlock);
  write(pattern(4 * kBlock, 2), block(10).offset);
  layer().flush();
  EXPECT_EQ(below.content(block(0, 2)), pattern(2 * kBlock, 1));
  EXPECT_EQ(below.content(block(10, 4)), pattern(4 * kBlock, 2));
}

TEST_F(CacheStorage, GrowsOnWhenThereIsRoomAgain) {
  settings.full_retry = {};
  layer();
  let_files_grow_to(2 * kBlock);
  const auto content = pattern(kDiskSize, 2);
  write(content, 0);
  ASSERT_LE(cache().cached_bytes(), 2 * kBlock);
  let_files_grow_to(kDiskSize);
  EXPECT_EQ(read({0, kDiskSize}), content);
  EXPECT_EQ(read({0, kDiskSize}), content);
  EXPECT_EQ(cache().cached_bytes(), kDiskSize);
  layer().flush();
  EXPECT_EQ(below.content(), content);
}

TEST_F(CacheStorage, StaysAsItIsWhileThereIsNoRoom) {
  settings.full_retry = {};
  layer();
  let_files_grow_to(2 * kBlock);
  for (unsigned round = 1; round < 10; ++round) {
    const auto content = pattern(kDiskSize, round);
    write(content, 0);
    EXPECT_EQ(read({0, kDiskSize}), content);
    EXPECT_LE(cache().cached_bytes(), 2 * kBlock);
  }
}

TEST_F(CacheStorage, ACleanBlockThatCannotBeReadIsFetchedAgain) {
  const auto content = pattern(kDiskSize, 1);
  below.pwrite(content, 0, Durability::on_flush);
  read({0, kDiskSize});
  cut_off_cache_file();
  EXPECT_EQ(read({0, kDiskSize}), content);
  EXPECT_EQ(below.calls(Op::pread).size(), 2U);
}

TEST_F(CacheStorage, ADirtyBlockThatCannotBeReadIsAnError) {
  write(pattern(kBlock, 1), 0);
  cut_off_cache_file();
  EXPECT_EQ(code_of([&] { read(block(0, 2)); }), EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_TRUE(below.calls(Op::pwrite).empty());  // and nothing else was written in its place
}

TEST_F(CacheStorage, AnUnusableDirectoryIsAnErrorThatNamesIt) {
  directory = "/nonexistent/cache";
  try {
    layer();
    FAIL() << "a cache in a directory that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("/nonexistent/cache"), std::string::npos);
  }
}

}  // namespace
}  // namespace nbdstack::testing
