// A stack's files are one server's, and what a killed server has left is told from what a running
// one writes.
#include "common/metrics/stack_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "common/error.hpp"
#include "common/metrics/snapshot_writer.hpp"

namespace nbdstack {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct StackDirectoryTest : ::testing::Test {
  StackDirectoryTest() {
    std::string pattern = ::testing::TempDir() + "stacks.XXXXXX";
    stacks = ::mkdtemp(pattern.data());
    std::filesystem::create_directory(stacks + "/vm1");
  }
  ~StackDirectoryTest() override { std::filesystem::remove_all(stacks); }

  std::string stacks;
};

TEST_F(StackDirectoryTest, AReaderFindsWhatAServerWrites) {
  LayerFile file(stacks + "/vm1", "cache");
  file.write("a 1\n");
  file.write("a 2\n");
  const auto found = find_layers(stacks);
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].stack, "vm1");
  EXPECT_EQ(found[0].layer, "cache");
  EXPECT_EQ(found[0].text, "a 2\n");
  EXPECT_TRUE(found[0].is_running);
}

TEST_F(StackDirectoryTest, NothingIsLeftOfAServerThatHasStopped) {
  LayerFile file(stacks + "/vm1", "cache");
  file.write("a 1\n");
  file.remove();
  EXPECT_THAT(find_layers(stacks), IsEmpty());
}

TEST_F(StackDirectoryTest, WhatAKilledServerHasLeftIsTold) {
  const pid_t child = ::fork();
  if (child == 0) {
    LayerFile file(stacks + "/vm1", "cache");
    file.write("a 1\n");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  const auto found = find_layers(stacks);
  ASSERT_EQ(found.size(), 1);
  EXPECT_FALSE(found[0].is_running);
}

TEST_F(StackDirectoryTest, ASecondServerOfTheNameIsRefusedUntilTheFirstHasStopped) {
  LayerFile first(stacks + "/vm1", "cache");
  first.write("a 1\n");
  LayerFile second(stacks + "/vm1", "cache");
  try {
    second.write("b 1\n");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_THAT(error.what(), HasSubstr("a name of its own"));
  }
  second.remove();  // is not its to remove
  EXPECT_EQ(find_layers(stacks).at(0).text, "a 1\n");
  first.remove();
  second.write("b 1\n");
  EXPECT_EQ(find_layers(stacks).at(0).text, "b 1\n");
}

// A server that daemonizes takes the lock in its child; one that stays in the foreground may have
// children of its own.
TEST_F(StackDirectoryTest, ALockIsHeldByTheProcessThatInheritsIt) {
  auto file = std::make_unique<LayerFile>(stacks + "/vm1", "cache");
  file->write("a 1\n");
  std::array<int, 2> end{};
  ASSERT_EQ(::pipe(end.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(end[1]);
    char byte = 0;
    const bool read = ::read(end[0], &byte, 1) == 0;
    ::_exit(read ? 0 : 1);
  }
  ::close(end[0]);
  file.reset();  // closes this process's descriptor, without remove()
  EXPECT_TRUE(find_layers(stacks).at(0).is_running);
  ::close(end[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_FALSE(find_layers(stacks).at(0).is_running);
}

TEST_F(StackDirectoryTest, FilesOfOthersAreLeftAlone) {
  std::filesystem::create_directory(stacks + "/vm1/cache.prom");
  ASSERT_EQ(::mkfifo((stacks + "/vm1/fifo.prom").c_str(), 0600), 0);
  LayerFile(stacks + "/vm1", "long").write("a 1\n");
  std::filesystem::resize_file(stacks + "/vm1/long.prom", kMostTextBytes + 1);
  LayerFile(stacks + "/vm1", "md5").write("a 1\n");
  std::filesystem::create_symlink("nowhere", stacks + "/vm1/s3.prom");
  const auto found = find_layers(stacks);
  ASSERT_EQ(found.size(), 4);
  EXPECT_EQ(found[0].text, std::nullopt);
  EXPECT_EQ(found[1].text, std::nullopt);
  EXPECT_EQ(found[2].text, std::nullopt);
  EXPECT_EQ(found[3].text, "a 1\n");
  EXPECT_THAT(find_layers(stacks + "/none"), IsEmpty());
}

TEST(StackNameTest, AWordIsANameAndAPathADirectory) {
  EXPECT_EQ(stack_directory("/tmp/x/vm1"), "/tmp/x/vm1");
  EXPECT_EQ(stack_name("/tmp/x/vm1"), "vm1");
  EXPECT_EQ(stack_name("/tmp/x/vm1//"), "vm1");
  EXPECT_EQ(stack_name(stack_directory("vm1")), "vm1");
  EXPECT_THROW(stack_directory(""), Error);
  EXPECT_THROW(stack_directory(".."), Error);
}

TEST_F(StackDirectoryTest, TheWriterWritesAtOnceAndRemovesWhatItWrote) {
  MetricsRegistry registry("vm1", "cache");
  constexpr Metric kWritten{"things_total", MetricKind::counter, "Things"};
  registry.counter(kWritten, {}).add(7);
  {
    const SnapshotWriter writer(registry, stacks + "/vm1", "cache");
    while (find_layers(stacks).empty()) std::this_thread::yield();
    EXPECT_THAT(find_layers(stacks).at(0).text.value(), HasSubstr("} 7\n"));
  }
  EXPECT_THAT(find_layers(stacks), IsEmpty());
}

}  // namespace
}  // namespace nbdstack
