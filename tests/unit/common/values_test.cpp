// How values are spelled: as nbdkit reads them (tests/e2e/test_spellings.py).
#include "common/params/values.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// What the table says of a value, or "-" where it is refused.
std::string read_as(const std::string& kind, const std::string& spelling) {
  try {
    if (kind == "size") return std::to_string(parse_size("x", spelling));
    if (kind == "bool") return parse_bool("x", spelling) ? "1" : "0";
    if (kind == "unsigned") return std::to_string(parse_unsigned("x", spelling));
    return "a kind that nobody reads";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("x: ")) << error.what();
    return "-";
  }
}

TEST(ValuesTest, AreReadAsNbdkitReadsThem) {
  std::ifstream table(NBDSTACK_SPELLINGS);
  std::size_t lines = 0;
  for (std::string line; std::getline(table, line);) {
    if (line.starts_with('#')) continue;
    const std::size_t first = line.find('|');
    const std::size_t last = line.rfind('|');
    EXPECT_EQ(read_as(line.substr(0, first), line.substr(first + 1, last - first - 1)),
              line.substr(last + 1))
        << line;
    ++lines;
  }
  EXPECT_GT(lines, 50U);
}

TEST(ValuesTest, PathsBecomeAbsolute) {
  EXPECT_EQ(absolute_path("p", "/a/b"), "/a/b");
  EXPECT_EQ(absolute_path("p", "a/b"), std::filesystem::current_path() / "a/b");
  EXPECT_THROW(absolute_path("p", ""), Error);
}

}  // namespace
}  // namespace nbdstack
