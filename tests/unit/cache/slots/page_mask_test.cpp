// Arithmetic of pages, against a count page by page.
#include "filters/cache/slots/page_mask.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/unit/cache/engine/page.hpp"

namespace nbdstack {
namespace {

using testing::kPage;

using PageRun = std::pair<unsigned, unsigned>;
std::vector<PageRun> runs_of(PageMask mask) {
  std::vector<PageRun> runs;
  for_each_page_run(mask, [&](unsigned first, unsigned count) { runs.emplace_back(first, count); });
  return runs;
}

using PagePart = std::tuple<std::uint32_t, std::uint32_t, bool>;
std::vector<PagePart> parts_of(const PageGeometry& pages, std::uint32_t offset,
                               std::uint32_t length, PageMask mask) {
  std::vector<PagePart> parts;
  pages.for_each_part(offset, length, mask,
                      [&](std::uint32_t at, std::uint32_t count, bool inside) {
                        parts.emplace_back(at, count, inside);
                      });
  return parts;
}

TEST(PageMask, RunsOfPages) {
  EXPECT_EQ(page_run(0, 0), 0U);
  EXPECT_EQ(page_run(3, 2), 0b11000U);
  EXPECT_EQ(page_run(0, 64), ~PageMask{0});
  EXPECT_EQ(page_run(63, 1), PageMask{1} << 63U);
  EXPECT_EQ(runs_of(0), std::vector<PageRun>());
  EXPECT_EQ(runs_of(0b1101), (std::vector<PageRun>{{0, 1}, {2, 2}}));
  EXPECT_EQ(runs_of(~PageMask{0}), (std::vector<PageRun>{{0, 64}}));
  EXPECT_EQ(runs_of(page_run(62, 2) | 1U), (std::vector<PageRun>{{0, 1}, {62, 2}}));
}

TEST(PageMask, APageIs4KiBOrA64thOfABlock) {
  const auto expect = [](std::uint32_t block_size, std::uint32_t page_size, unsigned pages) {
    EXPECT_EQ(PageGeometry(block_size).page_size(), page_size);
    EXPECT_EQ(PageGeometry(block_size).pages_per_block(), pages);
  };
  expect(kPage, kPage, 1);
  expect(16 * kPage, kPage, 16);
  expect(64 * kPage, kPage, 64);
  expect(1U << 20U, 4 * kPage, 64);
  expect(1U << 31U, 1U << 25U, 64);
}

// All offsets and lengths in steps that hit and miss the borders of pages.
class EveryPiece : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  template <typename Fn>
  static void for_each(std::uint32_t block_length, Fn&& fn) {
    std::vector<std::uint32_t> borders;
    for (std::uint32_t page = 0; page * kPage <= block_length; ++page) {
      for (const std::uint32_t off : {0U, 1U, 100U, kPage - 1}) {
        if (page * kPage + off < block_length) borders.push_back(page * kPage + off);
      }
    }
    borders.push_back(block_length);
    for (const std::uint32_t first : borders) {
      for (const std::uint32_t end : borders) {
        if (first < end) fn(first, end - first);
      }
    }
  }
};

TEST_P(EveryPiece, TouchesAndCoversPages) {
  const std::uint32_t block_length = GetParam();
  const PageGeometry pages(16 * kPage);
  const std::uint32_t count = (block_length + kPage - 1) / kPage;
  EXPECT_EQ(pages.all(block_length), page_run(0, count));
  for_each(block_length, [&](std::uint32_t offset, std::uint32_t length) {
    PageMask touched = 0;
    PageMask covered = 0;
    for (unsigned page = 0; page < count; ++page) {
      const std::uint32_t first = page * kPage;
      const std::uint32_t end = std::min(first + kPage, block_length);
      if (offset < end && first < offset + length) touched |= page_run(page, 1);
      if (offset <= first && end <= offset + length) covered |= page_run(page, 1);
    }
    ASSERT_EQ(pages.touched(offset, length), touched) << offset << "+" << length;
    ASSERT_EQ(pages.covered(offset, length, block_length), covered) << offset << "+" << length;
  });
}

TEST_P(EveryPiece, IsCutWhereTheMaskChanges) {
  const PageGeometry pages(16 * kPage);
  for (const PageMask mask : {PageMask{0}, PageMask{0xffff}, PageMask{0b100110}}) {
    for_each(GetParam(), [&](std::uint32_t offset, std::uint32_t length) {
      std::uint32_t position = offset;
      for (const auto& [at, count, inside] : parts_of(pages, offset, length, mask)) {
        ASSERT_EQ(at, position);
        ASSERT_GT(count, 0U);
        const PageMask touched = pages.touched(at, count);
        ASSERT_EQ(touched & mask, inside ? touched : 0);
        ASSERT_TRUE(at == offset || pages.page_at(at) * kPage == at);
        position += count;
      }
      ASSERT_EQ(position, offset + length);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, EveryPiece, ::testing::Values(16 * kPage, 5 * kPage + 100));

TEST(PageMask, NeighboursOfOneKindAreOnePart) {
  const PageGeometry pages(64 * kPage);
  EXPECT_EQ(parts_of(pages, 0, 64 * kPage, ~PageMask{0}),
            (std::vector<PagePart>{{0, 64 * kPage, true}}));
  EXPECT_EQ(parts_of(pages, 0, 64 * kPage, 0), (std::vector<PagePart>{{0, 64 * kPage, false}}));
  EXPECT_EQ(
      parts_of(pages, 10, 4 * kPage, page_run(1, 2)),
      (std::vector<PagePart>{
          {10, kPage - 10, false}, {kPage, 2 * kPage, true}, {3 * kPage, kPage + 10, false}}));
}

TEST(PageMask, StatesOfAPage) {
  const Pages pages{.valid = 0b01111, .dirty = 0b11100, .zero = 0b01010, .hole = 0b01000};
  EXPECT_EQ(pages.stored(), 0b00101U);
  EXPECT_EQ(pages.unwritten(), 0b01100U);
  EXPECT_EQ(pages.damaged(), 0b10000U);
}

}  // namespace
}  // namespace nbdstack
