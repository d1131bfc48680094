#include "tests/unit/fakes/golden.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/unit/fakes/bytes_of.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::string_view kHex = ".hex";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path << " cannot be read";
  return {std::istreambuf_iterator<char>(file), {}};
}

// One line of an annotated text, without its comment.
void add_line(const std::string& line, std::vector<std::byte>& bytes) {
  std::istringstream words(line);
  std::string first;
  if (!(words >> first)) return;
  if (first == "size") {
    std::size_t size = 0;
    words >> size;
    bytes.resize(size);
    return;
  }
  std::size_t position = std::stoull(first, nullptr, 16);
  for (std::string word; words >> word;) {
    const std::size_t star = word.find('*');
    const std::size_t count = star == std::string::npos ? 1 : std::stoull(word.substr(star + 1));
    const auto value = static_cast<std::byte>(std::stoul(word.substr(0, star), nullptr, 16));
    bytes.resize(std::max(bytes.size(), position + count));
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(position), count, value);
    position += count;
  }
}

std::vector<std::byte> bytes_of_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    add_line(line.substr(0, line.find('#')), bytes);
  return bytes;
}

std::string file_name_of(const std::filesystem::path& path) {
  return path.extension() == kHex ? path.stem().string() : path.filename().string();
}

std::filesystem::path vectors() {
  return NBDSTACK_TEST_VECTORS;
}

}  // namespace

std::string golden_text(const std::string& name) {
  return read_file(vectors() / name);
}

std::vector<std::byte> golden(const std::string& name) {
  const std::string text = golden_text(name);
  return name.ends_with(kHex) ? bytes_of_hex(text) : bytes_of(text);
}

std::string first_difference(std::span<const std::byte> expected,
                             std::span<const std::byte> found) {
  const auto [left, right] =
      std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  if (left == expected.end() && right == found.end()) return "";
  const auto shown = [](auto at, auto end) {
    return at == end ? std::string("the end") : fmt::format("{:02x}", std::to_integer<int>(*at));
  };
  return fmt::format("at {:#x} there is {}, and not {}", left - expected.begin(),
                     shown(right, found.end()), shown(left, expected.end()));
}

void expect_golden(const std::string& name, std::span<const std::byte> written) {
  if (const char* const directory = std::getenv("NBDSTACK_WRITE_VECTORS")) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    for (const std::byte byte : written) file.put(std::to_integer<char>(byte));
  }
  EXPECT_EQ(first_difference(golden(name), written), "") << "tests/vectors/" << name;
}

void expect_golden(const std::string& name, const std::string& written) {
  expect_golden(name, std::as_bytes(std::span(written)));
}

std::map<std::string, std::vector<std::byte>> golden_directory(const std::string& name) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& entry : std::filesystem::directory_iterator(vectors() / name)) {
    const std::string file = entry.path().filename().string();
    files.emplace(file_name_of(entry.path()), golden(name + "/" + file));
  }
  return files;
}

}  // namespace nbdstack::testing
