// Memory runs out once while an owner takes a volume in a directory over, writes and leaves, at the
// n-th allocation for every n: the process goes on, and the next owner finds nothing in its way.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"
#include "plugins/s3/store/directory/staging_directory.hpp"
#include "tests/unit/fakes/every_allocation.hpp"

namespace nbdstack::testing {
namespace {

namespace fs = std::filesystem;

class DirectoryStoreMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(volume_.data()), nullptr); }
  void TearDown() override { fs::remove_all(volume_); }

  // Files with names that need memory of their own.
  static void fill(const std::string& directory) {
    for (char letter = 'a'; letter < 'd'; ++letter) {
      std::ofstream(directory + "/" + std::string(100, letter));
    }
  }
  // A directory as a former owner leaves it that was killed.
  void leave(const std::string& name) const {
    const std::string path = volume_ + "/" + std::string(kTemporaryPrefix) + name;
    fs::create_directories(path);
    fill(path);
  }

  std::string volume_ = ::testing::TempDir() + "directory-store-memory-XXXXXX";
};

TEST_F(DirectoryStoreMemoryTest, AnOwnerComesAndLeavesWhicheverAllocationFails) {
  const auto history = [&](long number) {
    leave("staging-former");
    leave("fenced-before");
    const bool came = with_failing(number, [&] {
      const StagingDirectory staging(volume_);
      const SafeMemory safe;
      fill(staging.path());
    });
    StagingDirectory next(volume_);
    EXPECT_EQ(names_in(volume_), std::vector{next.path().substr(volume_.size() + 1)});
    return came;
  };
  EXPECT_GT(for_every_allocation(history), 10);
}

TEST_F(DirectoryStoreMemoryTest, AWalkIsWholeOrThrowsWhicheverAllocationFails) {
  fs::create_directory(volume_ + "/" + std::string(100, 'x'));
  fill(volume_ + "/" + std::string(100, 'x'));
  fill(volume_);
  const auto history = [&](long number) {
    return with_failing(number, [&] {
      int seen = 0;
      walk_objects(volume_, {}, [&](const std::string&) { return ++seen > 0; });
      EXPECT_EQ(seen, 6);
    });
  };
  EXPECT_GT(for_every_allocation(history), 10);
}

}  // namespace
}  // namespace nbdstack::testing
