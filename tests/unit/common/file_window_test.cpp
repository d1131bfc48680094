#include "common/io/file_window.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "common/error.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kPage = 4096;

TEST(FileWindow, WritesWhatTheFileThenHolds) {
  const File file = File::temporary(::testing::TempDir(), "file-window");
  file.write_at(std::vector<std::byte>(2 * kPage), 0);
  const FileWindow window(file, 2 * kPage);
  ASSERT_TRUE(window.contains(100, kPage));
  EXPECT_FALSE(window.contains(2 * kPage - 1, 2));
  window.write_at(std::vector<std::byte>(kPage, std::byte{7}), 100);
  std::vector<std::byte> found(kPage);
  file.read_at(found, 100);
  EXPECT_EQ(found, std::vector<std::byte>(kPage, std::byte{7}));
}

// As when the disk of the file fails: a signal that would end the server.
TEST(FileWindow, AFileThatWasCutOffIsAnErrorAgainAndAgain) {
  if (testing::kThreadSanitizer) {
    GTEST_SKIP() << "ThreadSanitizer takes the signal for itself before any handler of the process";
  }
  const File file = File::temporary(::testing::TempDir(), "file-window");
  file.write_at(std::vector<std::byte>(kPage), 0);
  const FileWindow window(file, kPage);
  ASSERT_EQ(::ftruncate(file.descriptor(), 0), 0);
  for (int i = 0; i < 3; ++i) {
    try {
      window.write_at(std::vector<std::byte>(100), 0);
      FAIL() << "written beyond the end of the file";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
      EXPECT_NE(std::string(error.what()).find("file-window"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace nbdstack
