// The values of blocks against a model, and what they cost.
#include "plugins/s3/blocks/block_states.hpp"

#include <gtest/gtest.h>

#include <random>

namespace nbdstack {
namespace {

enum class Colour : std::uint8_t { red, green, blue };

using States = BlockStates<Colour>;
constexpr std::uint64_t kPage = States::kPageBlocks;

TEST(BlockStates, AnyHistoryIsThatOfAnArray) {
  constexpr std::uint64_t kCount = 5 * kPage + 7;
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t end) { return random() % end; };
    States states;
    std::vector<std::optional<Colour>> model(kCount);
    for (int step = 0; step < 3000; ++step) {
      const std::uint64_t first = below(4) == 0 ? below(5) * kPage : below(kCount);
      const std::uint64_t longest = below(20) == 0 ? 3 * kPage : below(5) == 0 ? kPage : 3;
      const std::uint64_t length = std::min(kCount - first, 1 + below(longest));
      const std::uint64_t drawn = below(4);
      const auto value = drawn == 3 ? std::nullopt : std::optional(static_cast<Colour>(drawn));
      if (value.has_value()) {
        states.assign({first, length}, *value);
      } else {
        states.erase({first, length});
      }
      std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), length, value);
      const std::uint64_t at = below(kCount);
      ASSERT_EQ(states.find(at), model[at]) << "seed " << seed << ", step " << step;
      if (step % 50 != 0) continue;
      const Range range{at, 1 + below(kCount - at)};
      std::vector<std::optional<Colour>> told(kCount);
      std::uint64_t position = range.offset;
      for (const auto& run : states.overlapping(range)) {
        ASSERT_GE(run.range.offset, position);
        ASSERT_LE(run.range.end(), range.end());
        position = run.range.end();
        std::fill_n(told.begin() + static_cast<std::ptrdiff_t>(run.range.offset), run.range.length,
                    std::optional(run.value));
      }
      for (std::uint64_t i = range.offset; i < range.end(); ++i) ASSERT_EQ(told[i], model[i]) << i;
    }
  }
}

TEST(BlockStates, ALongStretchIsOneNodeAndWhatBecomesEqualIsOneAgain) {
  States states;
  states.assign({0, std::uint64_t{1} << 51U}, Colour::red);
  EXPECT_EQ(states.size(), 1U);
  for (std::uint64_t block = 0; block < 100 * kPage; block += 2) {
    states.assign({block, 1}, Colour::green);
  }
  EXPECT_LE(states.size(), 102U) << "a page each, and not 50,000 runs";
  for (std::uint64_t block = 0; block < 100 * kPage; block += 2) {
    states.assign({block, 1}, Colour::red);
  }
  EXPECT_EQ(states.size(), 1U);
  for (std::uint64_t block = 0; block < 100 * kPage; block += 2) states.erase({block, 1});
  states.assign({1, 100 * kPage}, Colour::blue);
  EXPECT_LE(states.size(), 3U);
}

}  // namespace
}  // namespace nbdstack
