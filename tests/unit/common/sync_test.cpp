#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "common/block/range_lock.hpp"
#include "common/sync/request_trace.hpp"
#include "common/sync/worker_pool.hpp"

namespace nbdstack {
namespace {

// Until `lock` has that many claims. Only who begins to wait can make it so, hence no bound on time
// is needed.
void wait_for_claims(const RangeLock& lock, std::size_t count) {
  while (lock.claims() < count) std::this_thread::yield();
}

TEST(RangeLock, RangesThatDoNotOverlapDoNotWait) {
  RangeLock lock;
  const RangeLock::Guard first(lock, {0, 10});
  const RangeLock::Guard second(lock, {10, 10});
  EXPECT_EQ(lock.claims(), 2U);
}

TEST(RangeLock, OverlappingRangesAreServedInTheOrderOfAsking) {
  RangeLock lock;
  std::vector<int> order;
  std::vector<std::thread> threads;
  {
    const RangeLock::Guard owner(lock, {0, 100});
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&lock, &order, i] {
        const RangeLock::Guard guard(lock, {50, 10});
        order.push_back(i);  // protected by the very thing under test; a sanitizer sees it if not
      });
      wait_for_claims(lock, 2 + static_cast<std::size_t>(i));
    }
    EXPECT_TRUE(order.empty());
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST(RangeLock, ALateSmallRangeDoesNotOvertakeALargeOneThatWaits) {
  RangeLock lock;
  std::atomic<bool> large_done = false;
  auto left = std::make_unique<RangeLock::Guard>(lock, Range{0, 10});
  std::thread large([&] {
    const RangeLock::Guard guard(lock, {0, 100});
    large_done = true;
  });
  wait_for_claims(lock, 2);
  std::thread small([&] {
    const RangeLock::Guard guard(lock, {50, 10});
    EXPECT_TRUE(large_done);
  });
  wait_for_claims(lock, 3);
  left.reset();
  large.join();
  small.join();
}

TEST(WorkerPool, RunsAllPiecesSeveralAtATime) {
  WorkerPool pool(3);
  std::latch together(4);  // opens only when four pieces are under way at once
  std::atomic<int> sum = 0;
  pool.run(4, [&](std::size_t index) {
    together.arrive_and_wait();
    sum += static_cast<int>(index);
  });
  EXPECT_EQ(sum, 6);
}

TEST(WorkerPool, FinishesTheOthersAndThrowsTheFirstFailure) {
  WorkerPool pool(3);
  std::atomic<int> finished = 0;
  try {
    pool.run(50, [&](std::size_t index) {
      if (index % 10 == 5) throw std::runtime_error(std::to_string(index));
      ++finished;
    });
    FAIL() << "the failures vanished";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "5");
  }
  EXPECT_EQ(finished, 45);
}

TEST(WorkerPool, DoesNotStartTheRestAfterAFailureWhereThatIsWanted) {
  WorkerPool pool(3);
  std::atomic<std::size_t> started = 0;
  const auto body = [&](std::size_t index) {
    ++started;
    if (index == 5) throw std::runtime_error("no");
  };
  EXPECT_THROW(pool.run(100'000, body, WorkerPool::OnFailure::stop), std::runtime_error);
  EXPECT_LT(started, 100'000U);
  started = 0;
  WorkerPool alone(0);
  EXPECT_THROW(alone.run(100, body, WorkerPool::OnFailure::finish), std::runtime_error);
  EXPECT_EQ(started, 100U);
}

// The pieces are done by others while the caller is busy with what is his.
TEST(WorkerPool, RunsPiecesBesideWhatTheCallerDoesHimself) {
  for (const std::size_t threads : {0, 3}) {
    WorkerPool pool(threads);
    std::atomic<int> pieces = 0;
    std::thread::id own_thread;
    const auto own = [&] {
      own_thread = std::this_thread::get_id();
      while (threads > 0 && pieces < 5) std::this_thread::yield();
    };
    pool.run_beside(own, 5, [&](std::size_t) { ++pieces; });
    EXPECT_EQ(own_thread, std::this_thread::get_id());
    EXPECT_EQ(pieces, 5);
  }
}

TEST(WorkerPool, ThrowsWhatTheCallersOwnWorkThrowsAndBeginsNoMorePieces) {
  WorkerPool alone(0);
  std::atomic<int> pieces = 0;
  const auto count = [&](std::size_t) { ++pieces; };
  EXPECT_THROW(alone.run_beside([] { throw std::runtime_error("own"); }, 5, count),
               std::runtime_error);
  EXPECT_EQ(pieces, 0);
  const auto fail = [](std::size_t) { throw std::logic_error("piece"); };
  EXPECT_THROW(alone.run_beside([] {}, 5, fail), std::logic_error);
}

TEST(WorkerPool, MayBeNestedDeeperThanItHasThreads) {
  WorkerPool pool(1);
  std::atomic<int> leaves = 0;
  pool.run(3, [&](std::size_t) {
    pool.run(3, [&](std::size_t) { pool.run(3, [&](std::size_t) { ++leaves; }); });
  });
  EXPECT_EQ(leaves, 27);
}

// A second caller, without a trace, is served by the same threads meanwhile.
TEST(WorkerPool, WorksUnderTheTraceOfItsCaller) {
  WorkerPool pool(3);
  RequestTrace trace;
  std::latch all_started(4);
  std::thread other(
      [&] { pool.run(50, [&](std::size_t) { EXPECT_EQ(RequestTrace::current(), nullptr); }); });
  {
    const RequestTrace::Scope scope(&trace);
    pool.run(4, [&](std::size_t index) {
      all_started.arrive_and_wait();
      RequestTrace::current()->note(std::to_string(index));
    });
  }
  other.join();
  EXPECT_EQ(RequestTrace::current(), nullptr);
  auto notes = trace.notes();
  std::sort(notes.begin(), notes.end());
  EXPECT_EQ(notes, (std::vector<std::string>{"0", "1", "2", "3"}));
}

TEST(WorkerPool, IsTheWorkOfItsCallersWhenItIsStopped) {
  WorkerPool pool(3);
  pool.run(8, [](std::size_t) {});
  pool.stop();
  const auto caller = std::this_thread::get_id();
  unsigned done = 0;
  pool.run(8, [&](std::size_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    ++done;
  });
  EXPECT_EQ(done, 8);
  pool.stop();
}

TEST(WorkerPool, WorksWithoutThreads) {
  WorkerPool pool(0);
  int calls = 0;
  pool.run(3, [&](std::size_t) { ++calls; });
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace nbdstack
