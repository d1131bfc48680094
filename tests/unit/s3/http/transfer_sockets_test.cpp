#include "plugins/s3/http/transfer_sockets.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace nbdstack {
namespace {

// Two connected sockets, the first of which is ours.
class TransferSocketsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  }
  void TearDown() override {
    for (const int each : ends) {
      if (each >= 0) ::close(each);
    }
  }
  // What is ready at our end, and nothing else is.
  int ready() {
    const auto events = sockets.wait(0);
    if (events.empty()) return 0;
    EXPECT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].socket, ends[0]);
    return events[0].bits;
  }

  TransferSockets sockets;
  std::array<int, 2> ends{-1, -1};
};

TEST_F(TransferSocketsTest, WhatIsWantedIsHeardOf) {
  EXPECT_EQ(ready(), 0);
  sockets.want(ends[0], CURL_POLL_IN);
  EXPECT_EQ(ready(), 0);
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  EXPECT_EQ(ready(), CURL_CSELECT_IN);
  sockets.want(ends[0], CURL_POLL_INOUT);
  EXPECT_EQ(ready(), CURL_CSELECT_IN | CURL_CSELECT_OUT);
  sockets.want(ends[0], CURL_POLL_OUT);
  EXPECT_EQ(ready(), CURL_CSELECT_OUT);
}

TEST_F(TransferSocketsTest, WhatIsNoLongerWantedIsNot) {
  for (const int none : {CURL_POLL_REMOVE, CURL_POLL_NONE}) {
    sockets.want(ends[0], CURL_POLL_OUT);
    sockets.want(ends[0], none);
    EXPECT_EQ(ready(), 0);
    sockets.want(ends[0], none);  // of one that is not known
  }
}

TEST_F(TransferSocketsTest, AFailureIsToldAsWhatIsWaitedFor) {
  sockets.want(ends[0], CURL_POLL_IN);
  ::close(ends[1]);
  ends[1] = -1;
  EXPECT_EQ(ready(), CURL_CSELECT_IN);
}

}  // namespace
}  // namespace nbdstack
