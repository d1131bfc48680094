// A directory that there is no memory to list is no reason to end.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "tests/unit/fakes/every_allocation.hpp"

namespace nbdstack::testing {
namespace {

TEST(DirectoryMemoryTest, AListIsWholeOrThrowsWhicheverAllocationFails) {
  std::string path = ::testing::TempDir() + "directory-memory-XXXXXX";
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  constexpr std::size_t kFiles = 5;
  for (std::size_t i = 0; i < kFiles; ++i) {
    std::ofstream(path + "/" + std::string(100, static_cast<char>('a' + i)));
  }
  const auto history = [&](long number) {
    return with_failing(number, [&] { EXPECT_EQ(names_in(path).size(), kFiles); });
  };
  EXPECT_GT(for_every_allocation(history), 5);
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace nbdstack::testing
