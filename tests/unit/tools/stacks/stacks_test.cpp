// What lies in the directories of stacks is shown as it is, or named as unreadable.
#include "tools/stacks/stacks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/metrics/registry.hpp"
#include "common/metrics/stack_directory.hpp"

namespace nbdstack {
namespace {

using ::testing::IsEmpty;

struct StacksTest : ::testing::Test {
  StacksTest() {
    std::string pattern = ::testing::TempDir() + "stacks.XXXXXX";
    place = ::mkdtemp(pattern.data());
  }
  ~StacksTest() override { std::filesystem::remove_all(place); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = place + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] LayerSnapshot only() const {
    const auto layers = read_stacks({place});
    EXPECT_EQ(layers.size(), 1);
    return layers.at(0);
  }

  std::string place;
};

std::string requests_of(const std::string& stack, const std::string& layer) {
  MetricsRegistry registry(stack, layer);
  registry.counter(metric::kRequests, {{"op", "read"}}).add(7);
  return registry.text();
}

TEST_F(StacksTest, TheLayersOfARunningServerAreRead) {
  std::filesystem::create_directory(place + "/vm1");
  LayerFile file(place + "/vm1", "cache");
  file.write(requests_of("vm1", "cache"));
  const LayerSnapshot layer = only();
  EXPECT_EQ(layer.stack, "vm1");
  EXPECT_EQ(layer.layer, "cache");
  EXPECT_TRUE(layer.is_running);
  EXPECT_TRUE(layer.is_readable);
  ASSERT_NE(layer.find(metric::kRequests), nullptr);
  EXPECT_EQ(layer.find(metric::kRequests)->series.at(0).value, 7);
  EXPECT_EQ(layer.find(metric::kCacheHits), nullptr);
}

TEST_F(StacksTest, WithoutItsLockAFileIsThatOfAKilledServer) {
  write("vm1/cache.prom", requests_of("vm1", "cache"));
  EXPECT_FALSE(only().is_running);
  EXPECT_TRUE(only().is_readable);
}

TEST_F(StacksTest, AFileThatIsNoLayersIsUnreadable) {
  const std::string good = requests_of("vm1", "cache");
  write("vm1/cache.prom", good.substr(0, good.size() - 1));
  EXPECT_FALSE(only().is_readable);
  EXPECT_THAT(only().families, IsEmpty());
  write("vm1/cache.prom", requests_of("vm2", "cache"));
  EXPECT_FALSE(only().is_readable) << "of another stack";
  write("vm1/cache.prom", requests_of("vm1", "s3"));
  EXPECT_FALSE(only().is_readable) << "of another layer";
  write("vm1/cache.prom", "# HELP up Up\n# TYPE up gauge\nup{stack=\"vm1\",layer=\"cache\"} 1\n");
  EXPECT_FALSE(only().is_readable) << "a name that is not ours";
  write("vm1/cache.prom",
        "# HELP nbdstack_a_sum A\n# TYPE nbdstack_a_sum gauge\n"
        "nbdstack_a_sum{stack=\"vm1\",layer=\"cache\"} 1\n");
  EXPECT_FALSE(only().is_readable) << "a part of a histogram";
  write("vm1/cache.prom", good);
  EXPECT_TRUE(only().is_readable);
}

TEST_F(StacksTest, AStackMayHaveAnyName) {
  const std::string name = "a \"b\"\x1b[2J";
  write(name + "/cache.prom", requests_of(name, "cache"));
  EXPECT_TRUE(only().is_readable);
  EXPECT_EQ(only().stack, "a \"b\"\\x1b[2J");
}

TEST_F(StacksTest, AStackOfTwoPlacesIsThatOfTheFirst) {
  write("one/vm1/cache.prom", requests_of("vm1", "cache"));
  write("two/vm1/s3.prom", requests_of("vm1", "s3"));
  write("two/vm0/s3.prom", requests_of("vm0", "s3"));
  const auto layers = read_stacks({place + "/one", place + "/two", place + "/none"});
  ASSERT_EQ(layers.size(), 2);
  EXPECT_EQ(layers[0].stack, "vm0");
  EXPECT_EQ(layers[1].layer, "cache");
}

}  // namespace
}  // namespace nbdstack
