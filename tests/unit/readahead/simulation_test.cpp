// A client, the planner, and a cache over a slow layer, in simulated time: how much is fetched for
// what is read, and how long it takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <queue>
#include <random>
#include <tuple>
#include <vector>

#include "filters/readahead/planner.hpp"
#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace {

using testing::kMiB;

using Microseconds = std::uint64_t;

constexpr std::uint64_t kSimulatedDisk = 1ULL << 30U;
constexpr std::uint64_t kBlock = 64 << 10U;
constexpr std::uint64_t kSimulatedRead = 128 << 10U;
constexpr Microseconds kLatency = 20'000;
constexpr Microseconds kHit = 100;
constexpr Microseconds kLongestOvertaking = 300;

struct Result {
  Microseconds took = 0;
  double fetched = 0;  // bytes fetched for each byte read
};

// A cache filter's ways: what is prefetched is stored, a read that misses is not, and what is being
// fetched is waited for.
class Simulation {
 public:
  Simulation(std::vector<std::uint64_t> offsets, std::size_t depth, bool with_readahead)
      : offsets_(std::move(offsets)),
        depth_(depth),
        with_readahead_(with_readahead),
        planner_({.disk_size_bytes = kSimulatedDisk, .streams = 8, .window = {}}) {}

  Result run() {
    for (std::size_t i = 0; i < std::min(depth_, offsets_.size()); ++i) send();
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.when;
      if (event.arrives) {
        arrive({event.offset, kSimulatedRead});
      } else {
        planner_.read_ends({event.offset, kSimulatedRead});
        send();
      }
    }
    const auto read = static_cast<double>(offsets_.size() * kSimulatedRead);
    return {now_, static_cast<double>(fetched_bytes_) / read};
  }

 private:
  struct Event {
    Microseconds when;
    std::uint64_t offset;
    bool arrives;

    friend bool operator>(const Event& a, const Event& b) {
      return std::tie(a.when, a.offset, a.arrives) > std::tie(b.when, b.offset, b.arrives);
    }
  };

  void send() {
    if (sent_ == offsets_.size()) return;
    const Microseconds on_the_way = depth_ == 1 ? 0 : random_() % kLongestOvertaking;
    events_.push({now_ + on_the_way, offsets_[sent_++], true});
  }

  void arrive(const Range& read) {
    const std::vector<Range> pieces =
        with_readahead_ ? planner_.read_begins(read) : std::vector<Range>();
    Microseconds ready = now_ + kHit;
    bool missed = false;
    for (std::uint64_t block = read.offset / kBlock; block * kBlock < read.end(); ++block) {
      const auto found = stored_.find(block);
      if (found == stored_.end()) fetched_bytes_ += kBlock;
      missed = missed || found == stored_.end();
      if (found != stored_.end()) ready = std::max(ready, found->second);
    }
    if (missed) ready = std::max(ready, now_ + kLatency);
    for (const Range& piece : pieces) {
      for (const Range& part : planner_.fetch_begins(piece)) fetch(part);
    }
    events_.push({ready, read.offset, false});
  }

  void fetch(const Range& part) {
    for (std::uint64_t block = part.offset / kBlock; block * kBlock < part.end(); ++block) {
      if (stored_.try_emplace(block, now_ + kLatency).second) fetched_bytes_ += kBlock;
    }
  }

  const std::vector<std::uint64_t> offsets_;
  const std::size_t depth_;
  const bool with_readahead_;
  Planner planner_;
  std::mt19937_64 random_{1};
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::map<std::uint64_t, Microseconds> stored_;  // by block: when it is there
  std::size_t sent_ = 0;
  std::uint64_t fetched_bytes_ = 0;
  Microseconds now_ = 0;
};

std::vector<std::uint64_t> interleaved(std::uint64_t streams, std::uint64_t total_bytes) {
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < total_bytes / kSimulatedRead / streams; ++i) {
    for (std::uint64_t s = 0; s < streams; ++s)
      offsets.push_back(s * (kSimulatedDisk / streams) + i * kSimulatedRead);
  }
  return offsets;
}

Result with(const std::vector<std::uint64_t>& offsets, std::size_t depth) {
  return Simulation(offsets, depth, true).run();
}

Result without(const std::vector<std::uint64_t>& offsets, std::size_t depth) {
  return Simulation(offsets, depth, false).run();
}

TEST(Simulation, StreamsAreFetchedOnceAndSooner) {
  for (const std::uint64_t streams : {1, 2, 8}) {
    const std::vector<std::uint64_t> offsets = interleaved(streams, 64 * kMiB);
    for (const std::size_t depth : {1, 4, 16, 64}) {
      SCOPED_TRACE(::testing::Message() << streams << " streams, depth " << depth);
      const Result bare = without(offsets, depth);
      const Result ours = with(offsets, depth);
      EXPECT_LE(ours.fetched, 1.1);
      EXPECT_LE(ours.took, bare.took);
      if (depth == 1) {
        EXPECT_LE(ours.took * 10, bare.took);
      }
    }
  }
}

TEST(Simulation, BackwardsAndStridesAreSoonerToo) {
  std::vector<std::uint64_t> offsets = interleaved(1, 64 * kMiB);
  std::reverse(offsets.begin(), offsets.end());
  EXPECT_LE(with(offsets, 1).took * 10, without(offsets, 1).took);
  EXPECT_LE(with(offsets, 1).fetched, 1.1);
  for (std::uint64_t& offset : offsets) offset *= 8;
  EXPECT_LE(with(offsets, 1).took * 5, without(offsets, 1).took);
  EXPECT_LE(with(offsets, 1).fetched, 1.1);
}

TEST(Simulation, SmallSkipsAreTolerated) {
  std::vector<std::uint64_t> offsets = interleaved(1, 64 * kMiB);
  std::size_t i = 0;
  std::erase_if(offsets, [&](std::uint64_t) { return ++i % 32 == 0; });
  EXPECT_LE(with(offsets, 1).took * 5, without(offsets, 1).took);
  EXPECT_LE(with(offsets, 1).fetched, 1.1);
}

TEST(Simulation, ManyShortStreamsCostLittle) {
  std::vector<std::uint64_t> offsets;
  std::mt19937_64 random(3);
  while (offsets.size() < 4096) {
    const std::uint64_t start = random() % (kSimulatedDisk / kSimulatedRead - 8) * kSimulatedRead;
    for (std::uint64_t i = 0; i < 4; ++i) offsets.push_back(start + i * kSimulatedRead);
  }
  EXPECT_LE(with(offsets, 1).fetched, 1.1);
}

TEST(Simulation, RandomReadsAreFetchedOnce) {
  std::vector<std::uint64_t> offsets = interleaved(1, 64 * kMiB);
  std::shuffle(offsets.begin(), offsets.end(), std::mt19937_64(5));
  for (const std::size_t depth : {1, 16}) {
    EXPECT_LT(with(offsets, depth).fetched, 1.01);
    EXPECT_LE(with(offsets, depth).took, without(offsets, depth).took);
  }
}

}  // namespace
}  // namespace nbdstack
