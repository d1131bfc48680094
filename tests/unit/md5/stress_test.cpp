// Many threads at once, against a model. What it can find beyond the tests of pairs: deadlocks,
// races (with a thread sanitizer), and pairs nobody thought of.
#include <random>
#include <thread>

#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

// Blocks from here on are written whole, by one thread; those before it in parts, by all others.
constexpr std::uint64_t kFirstWhole = kBlocks - 4;
// Blocks before this one are never trimmed: once remembered, they stay so.
constexpr std::uint64_t kFirstTrimmed = 6;

// Each thread has its own stripe of a block, so that threads meet in blocks and never in bytes.
constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kStripe = kBlock / kThreads;

class Worker {
 public:
  Worker(Layer& layer, std::uint64_t number)
      : layer_(layer), stripe_(number * kStripe), random_(static_cast<unsigned>(number)) {}

  void operator()() {
    for (unsigned step = 0; step < 2000; ++step) {
      const std::uint64_t block = random_() % kFirstWhole;
      const std::uint64_t first = random_() % kStripe;
      const std::uint64_t length = 1 + random_() % (kStripe - first);
      const std::uint64_t offset = block * kBlock + stripe_ + first;
      Bytes& model = model_[block];
      const auto begin = model.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end = begin + static_cast<std::ptrdiff_t>(length);
      switch (random_() % 5) {
        case 0: {
          const Bytes data = pattern(length, step);
          layer_.pwrite(data, offset, Durability::on_flush);
          std::copy(data.begin(), data.end(), begin);
          break;
        }
        case 1:
          layer_.zero(length, offset, {});
          std::fill(begin, end, std::byte{0});
          break;
        case 2:
          if (block < kFirstTrimmed) break;
          layer_.trim(length, offset, Durability::on_flush);  // the fake layer zeroes
          std::fill(begin, end, std::byte{0});
          break;
        default: {
          Bytes data(length);
          layer_.pread(data, offset);
          ASSERT_EQ(data, Bytes(begin, end)) << "block " << block << ", step " << step;
        }
      }
    }
  }

 private:
  Layer& layer_;
  std::uint64_t stripe_;
  std::mt19937 random_;
  std::vector<Bytes> model_ = std::vector<Bytes>(kBlocks, Bytes(kStripe));
};

class Md5StressTest : public Md5Test {
 protected:
  void run() {
    for (std::uint64_t block = 0; block < kFirstTrimmed; ++block) {
      write(Bytes(kBlock), block * kBlock);
    }
    std::vector<std::thread> threads;
    for (std::uint64_t number = 0; number < kThreads; ++number) {
      threads.emplace_back(Worker(*layer, number));
    }
    threads.emplace_back([this] { write_whole_blocks(); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(shared->digests.table().size(), shared->options.table_blocks);
  }

 private:
  void write_whole_blocks() const {
    for (unsigned step = 0; step < 500; ++step) {
      const std::uint64_t block = kFirstWhole + step % (kBlocks - kFirstWhole);
      const Bytes written = write_block(block, step);
      ASSERT_EQ(read_block(block), written) << "block " << block << ", step " << step;
    }
  }
};

TEST_F(Md5StressTest, ThreadsInTheSameRememberedBlocksReadWhatTheyWrote) {
  open({.table_blocks = 100, .cache_time = Duration::zero()});
  run();
}

TEST_F(Md5StressTest, ThreadsThatShareATooSmallTableReadWhatTheyWrote) {
  open({.table_blocks = 3,
        .cache_time = milliseconds(200),
        .retry_time = milliseconds(500),
        .min_write_delay = milliseconds(1)});
  run();
}

}  // namespace
}  // namespace nbdstack::testing
