// Where nbdstack-metrics listens: on loopback unless told otherwise, and never twice.
#include "tools/metrics/listen_socket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "common/command/usage_error.hpp"

namespace nbdstack {
namespace {

using ::testing::MatchesRegex;

TEST(ListenSocketTest, APortAloneIsOnLoopback) {
  EXPECT_THAT(ListenSocket::open("0").place(), MatchesRegex("http://127.0.0.1:[0-9]+/metrics"));
  EXPECT_THAT(ListenSocket::open("0.0.0.0:0").place(),
              MatchesRegex("http://0.0.0.0:[0-9]+/metrics"));
}

TEST(ListenSocketTest, WhatIsNoPlaceIsRefused) {
  const auto refused = [](const std::string& place) {
    EXPECT_THROW(ListenSocket::open(place), UsageError) << place;
  };
  for (const char* const place : {"", ":9180", "localhost:9180", "127.0.0.1", "127.0.0.1:",
                                  "127.0.0.1:http", "65536", "-1", "unix:", "*:9180"}) {
    refused(place);
  }
  refused("unix:/" + std::string(200, 'x'));
}

struct UnixSocketTest : ::testing::Test {
  UnixSocketTest() {
    std::string pattern = ::testing::TempDir() + "socket.XXXXXX";
    directory = ::mkdtemp(pattern.data());
  }
  ~UnixSocketTest() override { std::filesystem::remove_all(directory); }

  std::string directory;
};

TEST_F(UnixSocketTest, ASocketIsRemovedWhenItIsClosed) {
  const std::string path = directory + "/socket";
  {
    const ListenSocket socket = ListenSocket::open("unix:" + path);
    EXPECT_EQ(socket.place(), path);
    EXPECT_TRUE(std::filesystem::is_socket(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(UnixSocketTest, ASocketThatSomebodyServesIsNotTaken) {
  const ListenSocket socket = ListenSocket::open("unix:" + directory + "/socket");
  EXPECT_THROW(ListenSocket::open("unix:" + directory + "/socket"), Error);
  EXPECT_TRUE(std::filesystem::exists(directory + "/socket"));
}

TEST_F(UnixSocketTest, ASocketThatWasLeftBehindIsReplaced) {
  {
    const ListenSocket socket = ListenSocket::open("unix:" + directory + "/socket");
    std::filesystem::create_hard_link(directory + "/socket", directory + "/left");
  }
  const ListenSocket socket = ListenSocket::open("unix:" + directory + "/left");
  EXPECT_EQ(socket.place(), directory + "/left");
}

TEST(InheritedSocketTest, WithoutAServiceManagerThereIsNone) {
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  EXPECT_FALSE(ListenSocket::inherited());
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", "1", 1);  // meant for another process
  EXPECT_FALSE(ListenSocket::inherited());
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", "2", 1);
  EXPECT_THROW(ListenSocket::inherited(), Error);
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
}

}  // namespace
}  // namespace nbdstack
