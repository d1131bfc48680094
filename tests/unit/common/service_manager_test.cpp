#include "common/io/service_manager.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace nbdstack {
namespace {

class ServiceManager : public ::testing::Test {
 protected:
  // Listens as systemd does, under a name in the file system or, with '@', in none.
  void listen(const std::string& name) {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name.front() == '@') address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    if (socket_ != -1) ::close(socket_);
  }
  [[nodiscard]] std::string received() const {
    std::array<char, 100> text{};
    const ssize_t length = ::recv(socket_, text.data(), text.size(), 0);
    return length < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(length));
  }

 private:
  int socket_ = -1;
};

TEST_F(ServiceManager, IsToldOverASocketInTheFileSystem) {
  const std::string name = ::testing::TempDir() + "/notify-" + std::to_string(::getpid());
  listen(name);
  EXPECT_TRUE(has_service_manager());
  tell_service_manager("STOPPING=1");
  EXPECT_EQ(received(), "STOPPING=1");
  ::unlink(name.c_str());
}

TEST_F(ServiceManager, IsToldOverAnAbstractSocket) {
  listen("@nbdstack-test-" + std::to_string(::getpid()));
  tell_service_manager("EXTEND_TIMEOUT_USEC=1");
  EXPECT_EQ(received(), "EXTEND_TIMEOUT_USEC=1");
}

TEST_F(ServiceManager, NobodyIsToldWhereThereIsNoneOrItIsGone) {
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_FALSE(has_service_manager());
  tell_service_manager("STOPPING=1");
  ::setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
  tell_service_manager("STOPPING=1");
  ::setenv("NOTIFY_SOCKET", std::string(200, 'x').c_str(), 1);
  tell_service_manager("STOPPING=1");
}

}  // namespace
}  // namespace nbdstack
