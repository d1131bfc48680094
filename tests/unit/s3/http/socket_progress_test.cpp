#include "plugins/s3/http/socket_progress.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

namespace nbdstack {
namespace {

// Two ends of a TCP connection, of which the far one takes little before it is read.
class SocketProgressTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int little = 4096;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(bind(listener, any, length), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    ASSERT_EQ(getsockname(listener, any, &length), 0);
    near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(connect(near, any, length), 0);
    far = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    ::close(listener);
  }
  void TearDown() override {
    ::close(near);
    ::close(far);
  }

  int near = -1;
  int far = -1;
};

TEST_F(SocketProgressTest, WhatLiesInTheBufferHasNotMoved) {
  const std::vector<char> bytes(4 << 20, 'x');
  const auto before = socket_progress(near);
  ASSERT_TRUE(before.has_value());
  EXPECT_EQ(before->unacknowledged_bytes, 0U);
  const ssize_t written = send(near, bytes.data(), bytes.size(), MSG_DONTWAIT);
  ASSERT_GT(written, 0);
  const auto stuck = socket_progress(near);
  EXPECT_GT(stuck->unacknowledged_bytes, 0U);
  EXPECT_LE(stuck->moved_bytes + stuck->unacknowledged_bytes,
            before->moved_bytes + static_cast<std::uint64_t>(written));

  std::vector<char> room(bytes.size());
  for (ssize_t got = 0; got < written;) got += recv(far, room.data(), room.size(), 0);
  while (socket_progress(near)->unacknowledged_bytes > 0) usleep(1000);  // the last acknowledgement
  EXPECT_GE(socket_progress(near)->moved_bytes, static_cast<std::uint64_t>(written));
}

TEST_F(SocketProgressTest, WhatHasComeHasMoved) {
  const auto before = socket_progress(near);
  ASSERT_EQ(send(far, "12345678", 8, 0), 8);
  char room[8];
  ASSERT_EQ(recv(near, room, sizeof room, MSG_WAITALL), 8);
  EXPECT_EQ(socket_progress(near)->moved_bytes, before->moved_bytes + 8);
}

TEST_F(SocketProgressTest, WhatTheOtherEndMaySendIsLimited) {
  const std::vector<char> bytes(4 << 20, 'x');
  limit_receive_window(near, 16 << 10);
  EXPECT_EQ(receive_window_bytes(near), 16U << 10U);
  // What goes out from the other end, until it waits for this one: nothing is read here.
  const auto most = [&] {
    std::uint64_t sent = 0;
    do {
      sent = socket_progress(far)->moved_bytes;
      while (send(far, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) continue;
      usleep(300'000);
    } while (socket_progress(far)->moved_bytes > sent);
    return sent;
  };
  EXPECT_LE(most(), 200U << 10U);
  EXPECT_GT(socket_progress(near)->received_bytes, 0U);
  EXPECT_LE(socket_progress(near)->received_bytes, socket_progress(near)->moved_bytes);
}

TEST(SocketProgress, OfWhatIsNoSocketNothingIsKnown) {
  EXPECT_FALSE(socket_progress(-1).has_value());
  EXPECT_FALSE(socket_progress(STDERR_FILENO).has_value());
}

}  // namespace
}  // namespace nbdstack
