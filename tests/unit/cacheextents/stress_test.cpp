// Many threads at once, each with a part of the disk that only it changes, and one that walks.
#include <random>
#include <thread>

#include "common/block/extent_scan.hpp"
#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

class Stress : public CacheextentsTest {
 protected:
  static constexpr std::uint64_t kThreads = 4;
  static constexpr std::uint64_t kStripe = 4 * kMiB;

  // What a thread has acknowledged of its own stripe must be in what it is told.
  void work(std::uint64_t number) {
    std::mt19937 random(static_cast<unsigned>(number));
    for (unsigned step = 0; step < 1000; ++step) {
      const std::uint64_t first = random() % (kStripe / 4096);
      const std::uint64_t count =
          1 + random() % std::min<std::uint64_t>(kStripe / 4096 - first, 16);
      const Range range{number * kStripe + first * 4096, count * 4096};
      switch (random() % 5) {
        case 0:
          write(range);
          break;
        case 1:
          zero(range, random() % 2 == 0);
          break;
        case 2:
          trim(range);
          break;
        default:
          compare(range);
      }
    }
    compare({number * kStripe, kStripe});
  }
  void compare(const Range& range) const {
    for (const Extent& said : map(range)) {
      for (std::uint64_t at = said.range.offset; at < said.range.end(); at += 4096) {
        const ExtentType is = below->at(at);
        ASSERT_TRUE((is.zero || !said.type.zero) && (is.hole || !said.type.hole)) << at;
      }
    }
  }
  void run(std::size_t max_runs) {
    use_disk(kThreads * kStripe, max_runs);
    std::vector<std::thread> threads;
    for (std::uint64_t number = 0; number < kThreads; ++number) {
      threads.emplace_back([this, number] { work(number); });
    }
    for (int walks = 0; walks < 5; ++walks) {
      shared->start_scan("", [this] { return std::make_unique<Connection>(*below); });
      shared->scan->wait();
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(known->runs(), max_runs);
  }
};

TEST_F(Stress, WithRoomForAll) {
  run(100'000);
}

TEST_F(Stress, WithLittleRoom) {
  run(32);
}

}  // namespace
}  // namespace nbdstack::testing
