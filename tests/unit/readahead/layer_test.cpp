// The layer, with threads, over a fake.
#include "filters/readahead/readahead_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "common/error.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kRead = 4096;
constexpr std::uint64_t kDisk = 4 << 20U;

class ReadaheadLayerTest : public ::testing::Test {
 protected:
  ReadaheadLayerTest() {
    for (std::uint64_t block = 0; block < kDisk / kRead; ++block) {
      below.fill({block * kRead, kRead}, static_cast<std::byte>(block % 251));
    }
    content = below.content();
  }
  void open(const ReadaheadOptions& options = {.first_window_bytes = 2 * kRead,
                                               .largest_window_bytes = 64 * kRead}) {
    below.change_traits().cache = Support::native;
    threads = std::make_unique<PrefetchThreads>(4, options.most_bytes_in_flight);
    shared = std::make_shared<ReadaheadExport>(options, below.traits(), *threads);
    layer = std::make_unique<ReadaheadLayer>(below, shared);
  }
  void read(std::uint64_t block) const {
    std::vector<std::byte> data(kRead);
    layer->pread(data, block * kRead);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), &content[block * kRead]));
  }
  void read(std::uint64_t first, std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) read(first + i);
  }
  // Waits until `count` requests to cache have reached the layer below.
  void wait_for_fetches(std::size_t count) const {
    while (below.calls(Op::cache).size() < count) std::this_thread::yield();
  }

  Gate gate;  // goes after the threads that wait at it
  FakeLayer below{kDisk};
  std::vector<std::byte> content;
  std::unique_ptr<PrefetchThreads> threads;
  std::shared_ptr<ReadaheadExport> shared;
  std::unique_ptr<ReadaheadLayer> layer;
};

TEST_F(ReadaheadLayerTest, AStreamIsFetchedByTheThreads) {
  open();
  std::atomic<bool> elsewhere = false;
  below.on_call([&, reader = std::this_thread::get_id()](const Call& call) {
    if (call.op == Op::cache) elsewhere = std::this_thread::get_id() != reader;
  });
  read(0, 3);
  wait_for_fetches(1);
  EXPECT_EQ(below.calls(Op::cache).at(0).range, (Range{3 * kRead, 2 * kRead}));
  threads->stop();
  EXPECT_TRUE(elsewhere);
}

TEST_F(ReadaheadLayerTest, NoFetchBeginsWhenTheServerStops) {
  std::atomic<bool> stops = false;
  open({.first_window_bytes = 2 * kRead,
        .largest_window_bytes = 64 * kRead,
        .most_bytes_in_flight = 1,  // one at a time
        .server_stops = [&] { return stops.load(); }});
  below.on_call([&](const Call& call) {
    if (call.op == Op::cache) gate.pass();
  });
  read(0, 3);
  gate.wait_for_arrivals(1);
  read(3, 20);
  stops = true;
  gate.open();
  while (!threads->is_stopping()) std::this_thread::yield();
  threads->stop();
  EXPECT_EQ(below.calls(Op::cache).size(), 1U);
}

TEST_F(ReadaheadLayerTest, ReadersDoNotWaitForAFetch) {
  open();
  below.on_call([&](const Call& call) {
    if (call.op == Op::cache) gate.pass();
  });
  read(0, 3);
  gate.wait_for_arrivals(1);
  read(3, 200);
  gate.open();
}

TEST_F(ReadaheadLayerTest, WithoutACacheBelowEverythingPasses) {
  open();
  const ReadaheadLayer plain(below, nullptr);
  layer = std::make_unique<ReadaheadLayer>(below, nullptr);
  read(0, 20);
  EXPECT_EQ(below.calls(Op::pread).size(), 20U);
  EXPECT_TRUE(below.calls(Op::cache).empty());
}

TEST_F(ReadaheadLayerTest, EverythingElsePasses) {
  open();
  const std::vector<std::byte> data(kRead);
  layer->pwrite(data, 0, Durability::fua);
  layer->zero(kRead, 0, {});
  layer->trim(kRead, 0, Durability::on_flush);
  layer->cache(kRead, 0);
  layer->flush();
  ExtentList extents;
  layer->extents(kRead, 0, false, extents);
  const std::vector<Call> expected{{Op::pwrite, {0, kRead}, Durability::fua},
                                   {Op::zero, {0, kRead}},
                                   {Op::trim, {0, kRead}},
                                   {Op::cache, {0, kRead}},
                                   {Op::flush, {}},
                                   {Op::extents, {0, kRead}}};
  EXPECT_EQ(below.calls(), expected);
  EXPECT_EQ(&layer->traits(), &below.traits());
}

TEST_F(ReadaheadLayerTest, AFailingFetchChangesNothingForReaders) {
  open();
  below.on_call([](const Call& call) {
    if (call.op == Op::cache) throw Error(EIO, "told to fail");
  });
  read(0, 3);
  wait_for_fetches(1);
  read(3, kDisk / kRead - 3);
  EXPECT_LT(below.calls(Op::cache).size(), kDisk / kRead / 8);
}

TEST_F(ReadaheadLayerTest, AReadThatFailsIsOverAndFetchesNothingForIt) {
  below.change_traits().parallel = false;
  open();
  read(0, 2);
  below.on_call([](const Call& call) {
    if (call.op == Op::pread) throw Error(EIO, "told to fail");
  });
  std::vector<std::byte> data(kRead);
  EXPECT_THROW(layer->pread(data, 2 * kRead), Error);
  EXPECT_TRUE(below.calls(Op::cache).empty());
  below.on_call(nullptr);
  read(3);
  EXPECT_EQ(below.calls(Op::cache).size(), 1U);
}

TEST_F(ReadaheadLayerTest, AConnectionThatSeesASmallerDiskIsNotAskedBehindItsEnd) {
  open({.first_window_bytes = 16 * kRead, .largest_window_bytes = 64 * kRead});
  FakeLayer smaller(8 * kRead);
  smaller.change_traits().cache = Support::native;
  ReadaheadLayer other(smaller, shared);
  std::vector<std::byte> data(kRead);
  for (std::uint64_t block = 0; block < 3; ++block) other.pread(data, block * kRead);
  while (smaller.calls(Op::cache).empty()) std::this_thread::yield();
  EXPECT_EQ(smaller.calls(Op::cache).at(0).range, (Range{3 * kRead, 5 * kRead}));
}

TEST_F(ReadaheadLayerTest, ALentLayerIsTakenBackWhenNobodyUsesItAndNotLentAgain) {
  LentLayer lent(below);
  auto user = std::async(std::launch::async, [&] { lent.with([&](Layer&) { gate.pass(); }); });
  gate.wait_for_arrivals(1);
  auto owner = std::async(std::launch::async, [&] { lent.take_back(); });
  while (lent.with([](Layer&) {})) std::this_thread::yield();
  EXPECT_EQ(owner.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  gate.open();
  owner.get();
  user.get();
}

TEST_F(ReadaheadLayerTest, AClientWhoLeavesWaitsForHisFetchesAndDropsTheRest) {
  open({.first_window_bytes = 16 * kRead,
        .largest_window_bytes = 64 * kRead,
        .most_bytes_in_flight = 8 * kRead});  // of two pieces one waits
  below.on_call([&](const Call& call) {
    if (call.op == Op::cache) gate.pass();
  });
  read(0, 3);
  gate.wait_for_arrivals(1);
  auto leaving = std::async(std::launch::async, [&] { layer->finalize(); });
  gate.open();
  leaving.get();
  const std::size_t fetches = below.calls(Op::cache).size();
  threads->stop();
  EXPECT_EQ(below.calls(Op::cache).size(), fetches);
}

TEST_F(ReadaheadLayerTest, StoppingInTheMidstLeavesReadersAlone) {
  open();
  below.on_call([&](const Call& call) {
    if (call.op == Op::cache) gate.pass();
  });
  read(0, 3);
  gate.wait_for_arrivals(1);
  auto stopped = std::async(std::launch::async, [&] { threads->stop(); });
  read(3, 50);
  gate.open();
  stopped.get();
  const std::size_t fetches = below.calls(Op::cache).size();
  read(100, 100);
  EXPECT_EQ(below.calls(Op::cache).size(), fetches);
}

TEST_F(ReadaheadLayerTest, OverALayerThatTakesOneCallAtATimeReadersFetch) {
  below.change_traits().parallel = false;
  open();
  std::atomic<int> inside = 0;
  const std::thread::id reader = std::this_thread::get_id();
  below.on_call([&](const Call&) {
    EXPECT_EQ(++inside, 1);
    EXPECT_EQ(std::this_thread::get_id(), reader);
    --inside;
  });
  for (std::uint64_t block = 0; block < 100; ++block) {
    const std::size_t before = below.calls(Op::cache).size();
    read(block);
    EXPECT_LE(below.calls(Op::cache).size(), before + 1);
  }
  EXPECT_GT(below.calls(Op::cache).size(), 5U);
}

TEST_F(ReadaheadLayerTest, FetchesStayWithinTheBound) {
  constexpr std::uint64_t kBound = 8 * kRead;
  open({.first_window_bytes = 16 * kRead,
        .largest_window_bytes = 64 * kRead,
        .most_bytes_in_flight = kBound});
  below.on_call([](const Call& call) {
    EXPECT_TRUE(call.op != Op::cache || call.range.length <= kBound) << call.range.length;
  });
  read(0, 3);
  wait_for_fetches(1);
  read(3, kDisk / kRead - 3);
}

TEST_F(ReadaheadLayerTest, ManyReadersAndAStopInTheMidst) {
  open();
  below.on_call([](const Call& call) {
    if (call.op == Op::cache && call.range.offset / kRead % 7 == 0) throw Error(EIO, "unlucky");
  });
  std::vector<std::thread> readers;
  for (std::uint64_t number = 0; number < 4; ++number) {
    readers.emplace_back([this, number] {
      std::vector<std::byte> data(kRead);
      for (std::uint64_t i = 0; i < 250; ++i) {
        const std::uint64_t block = number < 3 ? number * 250 + i : 1000 - i;
        layer->pread(data, block * kRead);
      }
    });
  }
  while (below.calls(Op::pread).size() < 300) std::this_thread::yield();
  threads->stop();
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace nbdstack::testing
