// Random requests against a plain array; then many threads, each in bytes of its own of blocks that
// all share. What it can find beyond the other tests: what nobody thought of, deadlocks, and races
// (with a thread sanitizer).
#include <random>
#include <thread>

#include <atomic>
#include "common/block/zeros.hpp"
#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using Random = std::mt19937;

// Zeros, something, or blocks of either.
Bytes some_data(Random& random, const Range& range) {
  const unsigned kind = random() % 3;
  if (kind == 0) return Bytes(range.length);
  Bytes data = pattern(range.length, random());
  if (kind == 1) return data;
  for (std::uint64_t at = 0; at < data.size(); ++at) {
    if ((range.offset + at) / kBlock % 2 == 0) data[at] = std::byte{0};
  }
  return data;
}

class ZeroBlockModelTest : public ZeroBlockTest {
 protected:
  // Everything but what the fake layer below promises and real ones do not.
  void run(unsigned seed, unsigned steps) {
    Random random(seed);
    Bytes model = below.content();
    for (unsigned step = 0; step < steps; ++step) {
      const std::uint64_t offset = random() % kDiskSize;
      const Range range{offset, 1 + random() % std::min(kDiskSize - offset, 3 * kBlock)};
      const Range request =
          random() % 3 == 0 ? blocks(range.offset / kBlock, 1 + random() % 4) : range;
      const auto begin = model.begin() + static_cast<std::ptrdiff_t>(request.offset);
      const auto end = begin + static_cast<std::ptrdiff_t>(request.length);
      SCOPED_TRACE("step " + std::to_string(step));
      change_or_compare(random, request, begin, end);
      if (step % 16 == 0) expect_knowledge_is_true(model);
    }
    EXPECT_EQ(below.content(), model) << "what was dropped was not there";
  }

 private:
  void change_or_compare(Random& random, const Range& range, Bytes::iterator begin,
                         Bytes::iterator end) const {
    const bool fua = below.traits().fua != Support::none && random() % 8 == 0;
    const Durability durability = fua ? Durability::fua : Durability::on_flush;
    switch (random() % 6) {
      case 0:
      case 1: {
        const Bytes data = some_data(random, range);
        write(data, range.offset, durability);
        std::copy(data.begin(), data.end(), begin);
        break;
      }
      case 2:
        if (layer->traits().zero == Support::none) break;
        zero(range, {.may_trim = random() % 2 == 0, .durability = durability});
        std::fill(begin, end, std::byte{0});
        break;
      case 3:
        trim(range, durability);
        std::fill(begin, end, std::byte{0});
        break;
      case 4:
        expect_extents_are_true(range, Bytes(begin, end));
        break;
      default:
        ASSERT_EQ(read(range), Bytes(begin, end));
    }
  }

  void expect_extents_are_true(const Range& range, const Bytes& content) const {
    const std::vector<Extent> found = extents(range);
    ASSERT_FALSE(found.empty());
    ASSERT_EQ(found.front().range.offset, range.offset);
    for (const Extent& extent : found) {
      ASSERT_TRUE(range.contains(extent.range));
      const auto data =
          std::span(content).subspan(extent.range.offset - range.offset, extent.range.length);
      ASSERT_TRUE(!extent.type.zero || is_zero(data));
    }
  }

  void expect_knowledge_is_true(const Bytes& model) const {
    for (const Extent& extent : known({0, kDiskSize})) {
      const auto data = std::span(model).subspan(extent.range.offset, extent.range.length);
      ASSERT_TRUE(!extent.type.zero || is_zero(data)) << extent.range.offset;
      ASSERT_EQ(extent.range.offset % kBlock, 0);
    }
  }
};

TEST_F(ZeroBlockModelTest, OverALayerThatCanDoEverything) {
  run(1, 2000);
}

TEST_F(ZeroBlockModelTest, OverALayerWithoutZeros) {
  below.change_traits().zero = Support::none;
  open();
  run(2, 2000);
}

TEST_F(ZeroBlockModelTest, OverALayerWhoseZerosAreWrites) {
  below.change_traits().zero = Support::emulated;
  open();
  run(3, 2000);
}

TEST_F(ZeroBlockModelTest, OverALayerWhoseConnectionsDoNotKnowOfEachOther) {
  below.change_traits().can_multi_conn = false;
  below.change_traits().fua = Support::none;
  open();
  run(4, 2000);
}

// --- Many threads ---

// The fake disk, with extents that are true at the moment of the question.
class TruthfulDisk final : public Layer {
 public:
  explicit TruthfulDisk(FakeLayer& disk) : disk_(disk) {}

  [[nodiscard]] const LayerTraits& traits() const override { return disk_.traits(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    disk_.pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    disk_.pwrite(buffer, offset, durability);
  }
  void flush() override { disk_.flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    disk_.zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    disk_.trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { disk_.cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool /*only_one*/,
               ExtentList& extents) override {
    const Bytes content = disk_.content({offset, length});
    for (std::uint64_t at = 0; at < length; at += kStep) {
      const std::uint64_t part = std::min(kStep, length - at);
      extents.append({offset + at, part},
                     is_zero(std::span(content).subspan(at, part)) ? kHole : kData);
    }
  }

 private:
  static constexpr std::uint64_t kStep = kBlock / 4;
  FakeLayer& disk_;
};

constexpr std::uint64_t kThreads = 4;
constexpr std::uint64_t kStripe = kBlock / kThreads;
// Blocks from here on are written whole, by one thread; those before it in parts, by all others.
constexpr std::uint64_t kFirstWhole = kBlocks - 4;

class Worker {
 public:
  Worker(Layer& layer, std::uint64_t number)
      : layer_(layer), stripe_(number * kStripe), random_(static_cast<unsigned>(number)) {}

  void operator()() {
    for (unsigned step = 0; step < 1500; ++step) {
      const std::uint64_t block = random_() % kFirstWhole;
      const std::uint64_t first = random_() % kStripe;
      const std::uint64_t length = 1 + random_() % (kStripe - first);
      const std::uint64_t offset = block * kBlock + stripe_ + first;
      Bytes& model = model_[block];
      const auto begin = model.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end = begin + static_cast<std::ptrdiff_t>(length);
      switch (random_() % 5) {
        case 0:
        case 1: {
          const Bytes data = random_() % 2 == 0 ? pattern(length, step) : Bytes(length);
          layer_.pwrite(data, offset, Durability::on_flush);
          std::copy(data.begin(), data.end(), begin);
          break;
        }
        case 2:
          layer_.zero(length, offset, {.may_trim = true});
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
  Random random_;
  std::vector<Bytes> model_ = std::vector<Bytes>(kFirstWhole, Bytes(kStripe));
};

class ZeroBlockStressTest : public ZeroBlockTest {
 protected:
  // Whole blocks, so that what is learnt of the blocks of others changes all the time.
  void read_everything(const std::atomic<bool>& stopping) const {
    while (!stopping) {
      static_cast<void>(read({0, kDiskSize}));
      static_cast<void>(extents({0, kDiskSize}));
    }
  }
  void write_whole_blocks() const {
    Random random(99);
    for (unsigned step = 0; step < 1000; ++step) {
      const Range range = blocks(kFirstWhole + random() % (kBlocks - kFirstWhole));
      const Bytes written = some_data(random, range);
      if (random() % 4 == 0) trim(range);
      write(written, range.offset);
      ASSERT_EQ(read(range), written) << "block " << range.offset / kBlock << ", step " << step;
    }
  }
};

TEST_F(ZeroBlockStressTest, ThreadsInTheSameBlocksReadWhatTheyWrote) {
  below.fill({0, kDiskSize}, std::byte{0});
  TruthfulDisk disk(below);
  layer = std::make_unique<ZeroBlockLayer>(disk, shared);
  std::atomic<bool> stopping = false;
  std::vector<std::thread> workers;
  for (std::uint64_t number = 0; number < kThreads; ++number) {
    workers.emplace_back(Worker(*layer, number));
  }
  workers.emplace_back([&] { write_whole_blocks(); });
  std::thread reader([&] { read_everything(stopping); });
  std::thread scanner([&] {
    while (!stopping) walk_all(disk, shared->map);
  });
  for (std::thread& worker : workers) worker.join();
  stopping = true;
  reader.join();
  scanner.join();
  EXPECT_EQ(shared->changes.claims(), 0);
}

}  // namespace
}  // namespace nbdstack::testing
