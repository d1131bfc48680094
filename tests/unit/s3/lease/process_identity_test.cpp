// Which processes of this machine are taken for ended: real ones.
#include "plugins/s3/lease/process_identity.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace nbdstack {
namespace {

// A child that lives until end(), and is a zombie until bury().
class Child {
 public:
  Child() {
    EXPECT_EQ(pipe(until_.data()), 0);
    EXPECT_EQ(pipe(identity_.data()), 0);
    pid_ = fork();
    if (pid_ == 0) live();
    close(until_[0]);
    std::uint64_t start_time = 0;
    EXPECT_EQ(read(identity_[0], &start_time, sizeof start_time), ssize_t{sizeof start_time});
    identity = LocalProcesses().self();
    identity.pid = pid_;
    identity.start_time = start_time;
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { bury(); }

  void end() {
    if (until_[1] < 0) return;
    close(until_[1]);
    until_[1] = -1;
    siginfo_t status{};
    waitid(P_PID, static_cast<id_t>(pid_), &status, WEXITED | WNOWAIT);
  }
  void bury() {
    end();
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  ProcessIdentity identity;

 private:
  [[noreturn]] void live() {
    close(until_[1]);
    const std::uint64_t start_time = LocalProcesses().self().start_time;
    const bool told = write(identity_[1], &start_time, sizeof start_time) > 0;
    char byte = 0;
    const bool ended = read(until_[0], &byte, 1) == 0;
    _exit(told && ended ? 0 : 1);
  }

  std::array<int, 2> until_{-1, -1};
  std::array<int, 2> identity_{-1, -1};
  pid_t pid_ = -1;
};

TEST(ProcessIdentityTest, ThisProcessIsKnownAndAlive) {
  const LocalProcesses processes;
  const ProcessIdentity self = processes.self();
  EXPECT_EQ(self.pid, getpid());
  EXPECT_GT(self.start_time, 0U);
  EXPECT_EQ(self.boot_id.size(), 36U);
  EXPECT_TRUE(self.pid_namespace.starts_with("pid:["));
  EXPECT_FALSE(self.host_name.empty());
  EXPECT_EQ(processes.self(), self);
  EXPECT_FALSE(processes.is_gone(self));
}

TEST(ProcessIdentityTest, APidThatSomebodyElseHasNowIsGone) {
  const LocalProcesses processes;
  ProcessIdentity former = processes.self();
  former.start_time -= 1;
  EXPECT_TRUE(processes.is_gone(former));
}

TEST(ProcessIdentityTest, AProcessIsGoneFromItsEndOnAlsoBeforeItsParentHasWaited) {
  const LocalProcesses processes;
  Child child;
  EXPECT_FALSE(processes.is_gone(child.identity));
  child.end();
  EXPECT_TRUE(processes.is_gone(child.identity));
  child.bury();
  EXPECT_TRUE(processes.is_gone(child.identity));
}

TEST(ProcessIdentityTest, NothingIsSaidOfProcessesThatCannotBeSeenFromHere) {
  const LocalProcesses processes;
  Child child;
  child.bury();
  const ProcessIdentity gone = child.identity;
  ASSERT_TRUE(processes.is_gone(gone));

  const auto with = [&](const auto& change) {
    ProcessIdentity identity = gone;
    change(identity);
    return processes.is_gone(identity);
  };
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.boot_id = "another boot"; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.boot_id.clear(); }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.pid_namespace = "pid:[1]"; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.host_name = "a clone"; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.pid = 0; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.pid = -1; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.pid = std::int64_t{1} << 32; }));
  EXPECT_FALSE(with([](ProcessIdentity& each) { each.start_time = 0; }));
}

}  // namespace
}  // namespace nbdstack
