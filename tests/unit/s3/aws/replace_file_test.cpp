#include "plugins/s3/aws/replace_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/error.hpp"

namespace nbdstack {
namespace {

namespace fs = std::filesystem;

class ReplaceFileTest : public ::testing::Test {
 protected:
  ReplaceFileTest() {
    std::string name = ::testing::TempDir() + "replace-file-XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ / "token.json";
    std::ofstream(path_) << "old";
  }
  ~ReplaceFileTest() override { fs::remove_all(directory_); }

  std::string content() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_), {}));
  }

  fs::path directory_;
  fs::path path_;
};

TEST_F(ReplaceFileTest, TheNewContentIsForTheOwnerAlone) {
  chmod(path_.c_str(), 0644);
  replace_file(path_, [] { return std::string("new"); });
  EXPECT_EQ(content(), "new");
  struct stat found {};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  EXPECT_EQ(files(), 1U);
}

TEST_F(ReplaceFileTest, ALinkStaysOne) {
  const fs::path link = directory_ / "link";
  fs::create_symlink(path_, link);
  replace_file(link, [] { return std::string("new"); });
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(content(), "new");
}

TEST_F(ReplaceFileTest, NothingIsLeftOfAFailure) {
  const auto fail = []() -> std::string { throw Error(EACCES, "no token"); };
  EXPECT_THROW(replace_file(path_, fail), Error);
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(ReplaceFileTest, NothingIsMadeWhereItCouldNotBePut) {
  bool asked = false;
  const auto make = [&] {
    asked = true;
    return std::string("new");
  };
  try {
    replace_file(directory_ / "none", make);
    FAIL() << "there is no such file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("none"), std::string::npos);
  }
  EXPECT_FALSE(asked);
  EXPECT_EQ(files(), 1U);
  EXPECT_THROW(replace_file("/proc/self/status", make), Error) << "no file can be made there";
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace nbdstack
