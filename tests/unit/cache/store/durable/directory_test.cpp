// Directories: the real one, the simulated one, and the cache's.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "filters/cache/store/durable/cache_directory.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {
namespace {

class DirectoryTest : public ::testing::Test {
 protected:
  DirectoryTest() {
    std::string pattern = ::testing::TempDir() + "nbdstack-directory-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    path_ = root_ + "/cache";
  }
  ~DirectoryTest() override { std::filesystem::remove_all(root_); }

  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  template <typename Fn>
  static std::string error_of(Fn&& fn, int code) {
    try {
      fn();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
  }

  std::string root_;
  std::string path_;
  const CacheIdentity identity_{.export_name = "disk 1%\n",
                                .disk_size_bytes = 1U << 20U,
                                .block_size_bytes = 65536,
                                .cache_id = "vol\xff"};
};

TEST_F(DirectoryTest, FilesOfTheSystem) {
  SystemDirectory directory(root_);
  const auto file = directory.open("a");
  const std::vector<std::byte> data(100, std::byte{5});
  file->write_at(data, 50);
  std::vector<std::byte> back(200, std::byte{9});
  read_padded(*file, back, 100);
  EXPECT_EQ(back[49], std::byte{5});
  EXPECT_EQ(back[50], std::byte{0});
  EXPECT_THROW(file->read_at(back, 100), Error);
  file->punch_hole(100, 50);
  file->sync_data();
  EXPECT_EQ(file->size_bytes(), 150U);
  directory.rename("a", "b");
  directory.sync();
  EXPECT_EQ(directory.names(), std::vector<std::string>{"b"});
  directory.remove("b");
  directory.remove("b");
  EXPECT_TRUE(directory.names().empty());
}

TEST_F(DirectoryTest, FailuresNameThePath) {
  SystemDirectory missing(root_ + "/missing");
  EXPECT_NE(error_of([&] { (void)missing.names(); }, ENOENT).find("missing"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)missing.open("x"); }, ENOENT).find("missing/x"),
            std::string::npos);
  EXPECT_NE(error_of([&] { missing.rename("x", "y"); }, ENOENT).find("missing/x"),
            std::string::npos);
  SystemDirectory directory(root_);
  std::filesystem::create_directory(root_ + "/full");
  EXPECT_NE(error_of([&] { directory.remove("full"); }, EISDIR).find("full"), std::string::npos);
}

TEST(SimulatedDisk, LosesWhatWasNotSynced) {
  std::size_t lost = 0;
  std::size_t torn = 0;
  constexpr std::uint64_t kSeeds = 200;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimulatedDisk disk;
    const auto directory = disk.directory();
    const auto file = directory->open("a");
    directory->sync();
    file->write_at(std::vector<std::byte>(2048, std::byte{1}), 0);
    file->sync_data();
    file->write_at(std::vector<std::byte>(2048, std::byte{2}), 0);
    (void)directory->open("b");
    disk.crash(seed);
    const auto content = disk.content("a");
    const auto old = std::count(content.begin(), content.end(), std::byte{1});
    const auto made = std::count(content.begin(), content.end(), std::byte{2});
    ASSERT_EQ(old + made, 2048);
    ASSERT_EQ(old % 512, 0);
    if (old != 0 && made != 0) ++torn;
    if (disk.names().size() == 1) ++lost;
  }
  EXPECT_GT(torn, 20U);
  EXPECT_GT(lost, 20U);
  EXPECT_LT(lost, kSeeds - 20);
}

TEST_F(DirectoryTest, ACacheDirectoryIsMadeAndKeepsItsIdentity) {
  {
    auto directory = CacheDirectory::acquire(path_);
    EXPECT_FALSE(directory->identity().has_value());
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
    directory->claim(identity_);
    directory->claim(identity_);
  }
  auto directory = CacheDirectory::acquire(path_);
  ASSERT_TRUE(directory->identity().has_value());
  EXPECT_EQ(*directory->identity(), identity_);
}

TEST_F(DirectoryTest, AnotherIdentityIsRefused) {
  CacheDirectory::acquire(path_)->claim(identity_);
  CacheIdentity other = identity_;
  other.disk_size_bytes = 4096;
  other.cache_id = "vol2";
  const auto directory = CacheDirectory::acquire(path_);
  const std::string message = error_of([&] { directory->claim(other); }, EINVAL);
  for (const char* part : {"1048576", "4096", "vol2", "remove the files"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  EXPECT_NE(message.find(path_), std::string::npos);
}

TEST_F(DirectoryTest, ADirectoryHasOneUser) {
  auto first = CacheDirectory::acquire(path_);
  first->claim(identity_);
  const std::string message = error_of([&] { CacheDirectory::acquire(path_); }, EBUSY);
  EXPECT_NE(message.find(path_), std::string::npos);
  EXPECT_NE(message.find(std::to_string(::getpid())), std::string::npos);
  first.reset();
  EXPECT_TRUE(CacheDirectory::acquire(path_)->identity().has_value());
}

TEST_F(DirectoryTest, SomebodyElsesFilesAreLeftAlone) {
  std::filesystem::create_directory(path_);
  write(path_ + "/photo.jpg", "x");
  const std::string message = error_of([&] { CacheDirectory::acquire(path_); }, ENOTEMPTY);
  EXPECT_NE(message.find("photo.jpg"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path_ + "/lock"));
}

TEST_F(DirectoryTest, AnInterruptedClaimIsNoObstacle) {
  std::filesystem::create_directory(path_);
  write(path_ + "/lock", "1");
  write(path_ + "/identity.new", "half");
  CacheDirectory::acquire(path_)->claim(identity_);
  EXPECT_EQ(*CacheDirectory::acquire(path_)->identity(), identity_);
}

TEST_F(DirectoryTest, AnIdentityThatCannotBeReadIsRefused) {
  std::filesystem::create_directory(path_);
  for (const char* text : {"", "format=1", "format=1\n", "nonsense\n", "export=%4\n",
                           "format=9\nexport=\ndisk_size=1\nblock_size=4096\ncache_id=\nuuid=1\n",
                           "format=1\nexport=%zz\ndisk_size=1\nblock_size=4096\n"}) {
    write(path_ + "/identity", text);
    const std::string message = error_of([&] { CacheDirectory::acquire(path_); }, EINVAL);
    EXPECT_NE(message.find("remove the files"), std::string::npos) << text;
  }
}

TEST_F(DirectoryTest, ADirectoryThatCannotBeMade) {
  EXPECT_THROW(CacheDirectory::acquire(root_ + "/a/b"), Error);
  write(path_, "a file");
  EXPECT_THROW(CacheDirectory::acquire(path_), Error);
}

TEST_F(DirectoryTest, AStoreInARealDirectory) {
  constexpr std::uint32_t kBlock = 65536;
  const std::vector<std::byte> data(kBlock, std::byte{3});
  for (int round = 0; round < 3; ++round) {
    auto directory = CacheDirectory::acquire(path_);
    directory->claim(identity_);
    DurableStore store(std::move(directory), kBlock, identity_.disk_size_bytes);
    const Recovered recovered = store.recover();
    if (round > 0) {
      ASSERT_EQ(recovered.blocks.size(), 1U);
      EXPECT_TRUE(store.verify(0, 0xffff));
    } else {
      store.taken(0);
    }
    store.wrote(0, {4}, store.write(0, data, 0, recovered.blocks.empty() ? 0 : 0xffff), true);
    store.commit();
    if (round == 1) store.close({});
  }
}

}  // namespace
}  // namespace nbdstack::testing
