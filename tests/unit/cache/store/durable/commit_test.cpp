// DurableStore: commits, and who waits for whom.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {
namespace {

class CommitTest : public DurableStoreTest {
 protected:
  // The first operation of this kind on such a file waits at the gate.
  void hold_first(SimulatedDisk::Kind kind, const std::string& prefix) {
    disk_.set_hook([this, kind, prefix](const SimulatedDisk::Operation& operation) {
      if (operation.kind == kind && operation.name.starts_with(prefix)) {
        ++seen_;
        if (!held_.exchange(true)) gate_.pass();
      }
    });
  }
  ~CommitTest() override { disk_.set_hook({}); }

  Gate gate_;
  std::atomic<bool> held_ = false;
  std::atomic<int> seen_ = 0;
};

TEST_F(CommitTest, NothingNewCostsNothing) {
  put(0, 0, 1, true);
  store_->commit();
  int operations = 0;
  disk_.set_hook([&](const SimulatedDisk::Operation&) { ++operations; });
  store_->commit();
  store_->publish();
  EXPECT_EQ(operations, 0);
}

TEST_F(CommitTest, OneCommitServesAllWhoWait) {
  put(0, 0, 1, true);
  hold_first(Kind::sync, "journal");
  auto first = std::async(std::launch::async, [&] { store_->commit(); });
  gate_.wait_for_arrivals(1);
  // All of them come while the first is under way; none is covered by it.
  put(1, 0, 1, true);
  std::vector<std::future<void>> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(std::async(std::launch::async, [&] { store_->commit(); }));
  }
  gate_.open();
  first.get();
  for (auto& other : others) other.get();
  EXPECT_EQ(seen_, 2);
  EXPECT_EQ(store_->committed(1, 0b0001), 0b0001U);
}

TEST_F(CommitTest, ChangesOfWhatIsBeingCommittedWait) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  hold_first(Kind::sync, "data");
  auto commit = std::async(std::launch::async, [&] { store_->commit(); });
  gate_.wait_for_arrivals(1);
  // Another page does not wait.
  put(0, 1, 5, true, 0b0001);
  auto write = std::async(std::launch::async, [&] { put(0, 0, 3, true, 0b0011); });
  EXPECT_EQ(disk_.content("data")[0], std::byte{1});
  EXPECT_EQ(disk_.content("data2")[0], std::byte{2});
  gate_.open();
  commit.get();
  write.get();
  EXPECT_EQ(get(0, 0), 3);
  EXPECT_EQ(disk_.content("data2")[0], std::byte{2});
}

// The overwritten content is noted and not committed; the commit must not sync half of what comes.
TEST_F(CommitTest, ACommitBeginsAfterOverwritesThatAreUnderWay) {
  put(0, 0, 1, true);
  hold_first(Kind::write, "data");
  auto write = std::async(std::launch::async, [&] { put(0, 0, 2, true, 0b0001); });
  gate_.wait_for_arrivals(1);
  std::atomic<bool> committed = false;
  auto commit = std::async(std::launch::async, [&] {
    store_->commit();
    committed = true;
  });
  EXPECT_FALSE(committed);
  gate_.open();
  write.get();
  commit.get();
  restart();
  EXPECT_TRUE(store_->verify(0, pages_of(0).stored()));
  EXPECT_EQ(get(0, 0), 2);
}

TEST_F(CommitTest, AJournalThatCannotBeWrittenIsReportedForGood) {
  put(0, 0, 1, true);
  fail_on(Kind::write, "journal", EIO);
  EXPECT_THROW(store_->publish(), Error);
  disk_.set_hook({});
  EXPECT_THROW(store_->publish(), Error);
  EXPECT_THROW(store_->commit(), Error);
  EXPECT_THROW(store_->close({}), Error);
  EXPECT_EQ(get(0, 0), 1);
}

TEST_F(CommitTest, ContentThatCannotBeSyncedIsReportedForGood) {
  put(0, 0, 1, true);
  fail_on(Kind::sync, "data", EIO);
  try {
    store_->commit();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
  }
  disk_.set_hook({});
  EXPECT_THROW(store_->commit(), Error);
  EXPECT_EQ(get(0, 0), 1);
}

TEST_F(CommitTest, AFailedCommitLetsNobodyWait) {
  put(0, 0, 1, true);
  fail_on(Kind::sync, "journal", EIO);
  EXPECT_THROW(store_->commit(), Error);
  EXPECT_THROW(put(0, 0, 2, true, 0b0001), Error);
}

TEST_F(CommitTest, AJournalThatCannotBeBegunIsNoFailure) {
  store_->set_shortest_journal_bytes(10);
  put(0, 0, 1, true);
  fail_on(Kind::create, "journal", EMFILE);
  store_->commit();
  EXPECT_EQ(logged_errors().size(), 1U);
  EXPECT_EQ(store_->committed(0, 0b0001), 0b0001U);
}

TEST_F(CommitTest, ManyThreads) {
  constexpr int kRounds = 60;
  store_->set_shortest_journal_bytes(5000);
  std::mutex engine;
  std::vector<std::thread> threads;
  for (Slot slot = 0; slot < 4; ++slot) {
    threads.emplace_back([&, slot] {
      store_->taken(slot);
      PageMask stored = 0;
      for (int round = 1; round <= kRounds; ++round) {
        const unsigned page = static_cast<unsigned>(round) % 4;
        const auto pages = store_->write(slot, bytes(kPage, round), page * kPage, stored);
        {
          const std::lock_guard lock(engine);
          store_->wrote(slot, {slot}, pages, true);
        }
        stored |= pages.pages;
        store_->publish();
        if (round % 7 == 0) store_->commit();
        EXPECT_EQ(get(slot, page), round);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  store_->commit();
  restart();
  for (const RecoveredBlock& block : recovered_.blocks) {
    EXPECT_EQ(block.pages.dirty, 0b1111U);
    EXPECT_TRUE(store_->verify(block.slot, 0b1111));
  }
  EXPECT_EQ(recovered_.blocks.size(), 4U);
}

}  // namespace
}  // namespace nbdstack::testing
