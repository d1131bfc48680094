// Many threads, a cache far too small, and a layer below that fails now and then, against a model.
// Every thread owns a part of the disk, but parts share blocks at their ends. For sanitizers above
// all: the interleavings that matter have tests of their own.
#include <random>
#include <thread>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheStress : public CacheTest, public ::testing::WithParamInterface<CacheMode> {
 protected:
  static constexpr std::size_t kThreads = 4;
  static constexpr std::size_t kPart = 100'000;  // not a multiple of the block size

  // What one thread knows of its part of the disk.
  struct Part {
    std::uint64_t offset;
    std::vector<std::byte> model = std::vector<std::byte>(kPart);
    std::mt19937 random;
  };

  void step(Part& part) {
    const auto length = 1 + part.random() % 20'000;
    const auto first = part.random() % (kPart - length);
    const auto at = part.offset + first;
    const auto modelled = part.model.begin() + static_cast<std::ptrdiff_t>(first);
    switch (part.random() % 8) {
      case 0:
      case 1:
      case 2: {
        const auto data = pattern(length, part.random());
        write(data, at, part.random() % 4 == 0 ? Durability::fua : Durability::on_flush);
        std::copy(data.begin(), data.end(), modelled);
        break;
      }
      case 3:
        layer().zero(length, at, {.may_trim = true});
        std::fill_n(modelled, length, std::byte{0});
        break;
      case 4:
        layer().cache(length, at);
        break;
      case 5:
        layer().flush();
        break;
      default: {
        const auto found = read({at, length});
        ASSERT_TRUE(std::equal(found.begin(), found.end(), modelled));
      }
    }
  }
};

TEST_P(CacheStress, AgreesWithTheModel) {
  settings.mode = GetParam();
  settings.max_size_bytes = 16 * kBlock;
  settings.cache_on_read = [] { return true; };
  below.change_traits().preferred_block_size = 4 * kBlock;
  layer();
  std::vector<Part> parts(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    parts[i].offset = i * kPart;
    parts[i].random.seed(static_cast<unsigned>(i));
    threads.emplace_back([this, &part = parts[i]] {
      for (int n = 0; n < 1000 && !HasFatalFailure(); ++n) step(part);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(cache().cached_bytes(), 16 * kBlock);
  cache().write_back_all(below);
  for (const Part& part : parts) {
    EXPECT_EQ(below.content({part.offset, kPart}), part.model);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, CacheStress,
                         ::testing::Values(CacheMode::writeback, CacheMode::writethrough,
                                           CacheMode::unsafe));

}  // namespace
}  // namespace nbdstack::testing
