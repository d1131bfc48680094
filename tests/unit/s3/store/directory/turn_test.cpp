// Changes with a condition by several processes, any of which may be stopped or killed at any time.
#include "plugins/s3/store/directory/turn.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "tests/unit/s3/store/directory/directory_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;

const std::string kKey = "a/counter";

class TurnTest : public testing::DirectoryStoreFixture {
 protected:
  TurnTest() { put(kKey, Bytes(sizeof(std::uint32_t))); }

  // Adds 1 to what the object says. Returns false if somebody else changed it meanwhile.
  static bool count(DirectoryStore& store) {
    Bytes body(sizeof(std::uint32_t));
    const auto object = store.fetch(kKey, body);
    std::uint32_t value = 0;
    std::memcpy(&value, body.data(), body.size());
    ++value;
    std::memcpy(body.data(), &value, body.size());
    const PutOptions over{.mode = PutMode::if_match, .etag = object.value().etag};
    return store.put(kKey, body, over).result == PutResult::stored;
  }
  std::uint32_t counted() {
    const Bytes body = get(kKey, sizeof(std::uint32_t));
    std::uint32_t value = 0;
    std::memcpy(&value, body.data(), body.size());
    return value;
  }
};

TEST_F(TurnTest, OneThatIsNotGivenBackIsTakenAway) {
  const Turn stopped(path_of("a"));
  EXPECT_FALSE(stopped.is_lost());
  EXPECT_TRUE(count(store_));
  EXPECT_TRUE(stopped.is_lost());
}

TEST_F(TurnTest, WhoHasLostItNeitherChangesNorRemovesAnything) {
  const std::string object = path_of(kKey);
  const Turn stopped(path_of("a"));
  const std::string between = stopped.place() + "/object";
  ASSERT_EQ(::link(object.c_str(), between.c_str()), 0);
  const Turn next(path_of("a"));
  EXPECT_EQ(::rename(between.c_str(), object.c_str()), -1);
  EXPECT_EQ(::rename(object.c_str(), between.c_str()), -1);
  EXPECT_FALSE(next.is_lost());
}

TEST_F(TurnTest, NothingIsLeftBehind) {
  EXPECT_TRUE(count(store_));
  Doubt doubt;
  const Removal other{.key = kKey, .etag = "\"other\""};
  EXPECT_EQ(store_.remove_matching({&other, 1}, doubt).size(), 1U);
  for (const auto& entry : testing::fs::directory_iterator(path_of("a"))) {
    EXPECT_EQ(entry.path().filename(), "counter");
  }
}

TEST_F(TurnTest, ARemovalTakesItToo) {
  const Turn stopped(path_of("a"));
  Doubt doubt;
  const Removal counter{.key = kKey, .etag = store_.look_up(kKey).value().etag};
  EXPECT_TRUE(store_.remove_matching({&counter, 1}, doubt).empty());
  EXPECT_FALSE(testing::fs::exists(path_of(kKey)));
}

TEST_F(TurnTest, ThreadsCountWhatIsCounted) {
  std::atomic<std::uint32_t> done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      DirectoryStore store = open();
      for (int j = 0; j < 25; ++j) done += count(store) ? 1U : 0U;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counted(), done);
}

// What two processes share.
struct Shared {
  std::atomic<bool> is_over = false;
  std::atomic<std::uint32_t> counted = 0;
};

// A process that counts without pause is stopped at any moment, most often in its turn.
TEST_F(TurnTest, AProcessThatIsStoppedKeepsNobodyWaitingAndUndoesNothing) {
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const shared = new (memory) Shared;
  const pid_t child = ::fork();
  if (child == 0) {
    DirectoryStore store = open();
    while (!shared->is_over) shared->counted += count(store) ? 1U : 0U;
    ::_exit(0);
  }
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same moments each time
  std::uint32_t own = 0;
  for (int round = 0; round < 4; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ::kill(child, SIGSTOP);
    ASSERT_EQ(::waitpid(child, nullptr, WUNTRACED), child);
    for (int i = 0; i < 10; ++i) own += count(store_) ? 1U : 0U;
    ::kill(child, SIGCONT);
    for (int i = 0; i < 10; ++i) own += count(store_) ? 1U : 0U;
  }
  shared->is_over = true;
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_GE(own, 40U);  // at least all of those that nobody disturbed
  EXPECT_EQ(counted(), own + shared->counted);
  ::munmap(memory, sizeof(Shared));
}

}  // namespace
}  // namespace nbdstack
