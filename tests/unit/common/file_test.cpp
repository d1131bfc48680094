#include "common/io/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {
namespace {

TEST(File, ATemporaryFileHasNoNameLeft) {
  const auto directory = std::filesystem::temp_directory_path() / "nbdstack-file-test";
  std::filesystem::create_directories(directory);
  const File file = File::temporary(directory.string(), "x");
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::filesystem::remove(directory);
}

TEST(File, ReadingBeyondTheEndIsAnErrorThatNamesTheFile) {
  const File file = File::temporary("/tmp", "nbdstack-test");
  file.write_at(std::vector<std::byte>(10), 0);
  std::vector<std::byte> buffer(20);
  try {
    file.read_at(buffer, 0);
    FAIL() << "20 bytes out of 10";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_NE(std::string(error.what()).find(file.path()), std::string::npos);
  }
}

TEST(File, APunchedHoleReadsAsZerosAndTakesNoStorage) {
  const File file = File::temporary("/tmp", "nbdstack-test");
  constexpr std::size_t kSize = 1U << 20U;
  file.write_at(std::vector<std::byte>(kSize, std::byte{1}), 0);
  file.punch_hole(kSize, 0);
  std::vector<std::byte> buffer(kSize);
  file.read_at(buffer, 0);
  EXPECT_EQ(buffer, std::vector<std::byte>(kSize));
  struct stat status {};
  ASSERT_EQ(::fstat(file.descriptor(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, static_cast<blkcnt_t>(kSize));
}

TEST(File, IsLockedByOneAtATimeUntilItIsClosed) {
  const auto path = std::filesystem::temp_directory_path() / "nbdstack-file-test-lock";
  const File waiting = File::open(path, O_RDWR | O_CREAT);
  {
    const File owner = File::open(path, O_RDWR);
    EXPECT_TRUE(owner.try_lock());
    EXPECT_FALSE(waiting.try_lock());
  }
  EXPECT_TRUE(waiting.try_lock());
  std::filesystem::remove(path);
}

TEST(File, AMissingFileIsAnErrorWithItsErrnoAndName) {
  try {
    File::open("/nonexistent/file", O_RDONLY);
    FAIL() << "opened a file that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_STREQ(error.what(), "open /nonexistent/file: No such file or directory");
  }
}

}  // namespace
}  // namespace nbdstack
