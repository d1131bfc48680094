// Which requests a write-back sends, as a table, and what holds for every plan.
//
// Pages are written as letters: d dirty data, z zeros and h holes to be sent; c clean data and o
// clean zeros, which the cache knows; a dot is a page that it does not know. Requests are written
// as kind (D data, Z zero, H hole), first page, number of pages, and in brackets what is missing.
#include "filters/cache/engine/write_back_plan.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <string>

#include "tests/unit/cache/engine/page.hpp"

namespace nbdstack {
namespace {

using testing::kPage;

using Kind = WriteRequest::Kind;

constexpr std::uint64_t kLong = 1024;

struct Case {
  const char* name;
  std::string pages;
  std::string requests;
  std::uint64_t preferred_pages = 0;
  unsigned block_pages = 16;
  std::uint64_t longest_pages = kLong;
  std::uint32_t short_of_bytes = 0;  // what the last page lacks
};

void PrintTo(const Case& each, std::ostream* out) {
  *out << each.name << ": " << each.pages;
}

std::uint64_t disk_size_of(const Case& each) {
  return each.pages.size() * kPage - each.short_of_bytes;
}

// Blocks that have something to be sent.
std::vector<BlockToWrite> blocks_of(const Case& each) {
  std::vector<BlockToWrite> blocks;
  for (std::size_t first = 0; first < each.pages.size(); first += each.block_pages) {
    const std::string letters = each.pages.substr(first, each.block_pages);
    const std::uint64_t offset = first * kPage;
    BlockToWrite block;
    block.range = {offset,
                   std::min<std::uint64_t>(letters.size() * kPage, disk_size_of(each) - offset)};
    for (unsigned page = 0; page < letters.size(); ++page) {
      const PageMask bit = page_run(page, 1);
      const char letter = letters[page];
      if (letter == 'd' || letter == 'z' || letter == 'h') block.pages |= bit;
      if (letter == 'z' || letter == 'h' || letter == 'o') block.zero |= bit;
      if (letter == 'h') block.hole |= bit;
      if (letter != '.') block.readable |= bit;
    }
    if (block.pages != 0) blocks.push_back(block);
  }
  return blocks;
}

std::vector<WriteRequest> plan(const Case& each) {
  return plan_writes(blocks_of(each), {.disk_size_bytes = disk_size_of(each),
                                       .block_size = each.block_pages * kPage,
                                       .preferred_block_size = each.preferred_pages * kPage,
                                       .longest_bytes = each.longest_pages * kPage});
}

std::string in_pages(const Range& range) {
  if (range.length % kPage == 0) {
    return fmt::format("{}+{}", range.offset / kPage, range.length / kPage);
  }
  return fmt::format("{}+{}B", range.offset / kPage, range.length);
}

std::string text_of(const std::vector<WriteRequest>& requests) {
  std::string text;
  for (const WriteRequest& request : requests) {
    if (!text.empty()) text += ' ';
    text += request.kind == Kind::data ? 'D' : request.kind == Kind::zero ? 'Z' : 'H';
    text += in_pages(request.range);
    for (std::size_t i = 0; i < request.missing.size(); ++i) {
      text += (i == 0 ? '(' : ',') + in_pages(request.missing[i]);
    }
    if (!request.missing.empty()) text += ')';
  }
  return text;
}

class WritePlan : public ::testing::TestWithParam<Case> {};

TEST_P(WritePlan, IsTheCheapest) {
  EXPECT_EQ(text_of(plan(GetParam())), GetParam().requests);
}

const Case kApart[] = {
    {"OnePage", "d...............", "D0+1"},
    {"TheLastPage", "...............d", "D15+1"},
    {"AWholeBlock", "dddddddddddddddd", "D0+16"},
    {"OneRun", "....dddd........", "D4+4"},
    {"TwoRunsAreAsCheapAsCompleting", "d..d............", "D0+1 D3+1"},
    {"DataAndZeros", "ddzz............", "D0+2 Z2+2"},
    {"ZerosAndHoles", "zzhh............", "Z0+2 H2+2"},
    {"HolesAlone", "....hhhh........", "H4+4"},
    {"CleanPagesBridge", "dccd............", "D0+4"},
    {"CleanZerosBridge", "doodcd..........", "D0+6"},
    {"UnknownPagesDoNotBridge", "dc.d............", "D0+1 D3+1"},
    {"CleanPagesAtTheEndsAreNotSent", "ccdd............", "D2+2"},
    {"CleanPagesDoNotBridgeZeros", "zccz............", "Z0+1 Z3+1"},
    {"BlocksOfOnePage", "d..dd.d", "D0+1 D3+2 D6+1", 0, 1},
};
INSTANTIATE_TEST_SUITE_P(Apart, WritePlan, ::testing::ValuesIn(kApart),
                         [](const auto& each) { return each.param.name; });

const Case kCompleted[] = {
    {"ThreeRuns", "d..d..d.........", "D0+16(1+2,4+2,7+9)"},
    {"NothingMissing", "ddddzzzzdddddddd", "D0+16", 4},
    {"NothingMissingThanksToCleanPages", "dcccoooozzzzdddd", "D0+16", 4},
    {"NeverZerosThatCanGoAsZeros", "ddddzzzzdddddddd", "D0+4 Z4+4 D8+8"},
    {"SmallerPreferredBlock", "..dddd..........", "D0+16(0+2,6+10)", 4},
    {"OneSmallerPreferredBlock", "d...............", "D0+1", 4},
    {"SeveralWholeSmallerPreferredBlocks", "dddd....dddd....", "D0+4 D8+4", 4},
    {"PartOfSeveralSmallerPreferredBlocks", "d...d...........", "D0+16(1+3,5+11)", 4},
    {"EqualPreferredBlock", "d...............", "D0+1", 16},
    {"EqualPreferredBlockTwoRuns", "d..d............", "D0+16(1+2,4+12)", 16},
    {"EqualPreferredBlockAllKnown", "dccccccccccccccc", "D0+16", 16},
    {"LargerPreferredBlock", "dddddddddddddddd................", "D0+16", 32},
    {"LargerPreferredBlockTwoRuns", "d...............d...............", "D0+32(1+15,17+15)", 32},
    {"LargerPreferredBlockWhole", "dddddddddddddddddddddddddddddddd", "D0+32", 32},
    {"LargerPreferredBlockAnotherBlockUnknown",
     "d..d............................................................", "D0+64(1+2,4+60)", 64},
    {"PreferredBlockIsRoundedUp", "..dddd..........", "D0+16(0+2,6+10)", 3},
    {"OnlyTheUnitThatNeedsIt", "d..d..d.........d...............", "D0+17(1+2,4+2,7+9)"},
};
INSTANTIATE_TEST_SUITE_P(Completed, WritePlan, ::testing::ValuesIn(kCompleted),
                         [](const auto& each) { return each.param.name; });

const Case kBorders[] = {
    {"RunsMeetBetweenUnits", "............dddddd..............", "D12+6"},
    {"ZerosMeetBetweenUnits", "............zzzzzz..............", "Z12+6"},
    {"ZerosAndHolesDoNot", "............zzzzhh..............", "Z12+4 H16+2"},
    {"CompletedUnitsMeet", "d..d..d.........d..d..d.........", "D0+32(1+2,4+2,7+9,17+2,20+2,23+9)"},
    {"BlocksBetweenAreLeftOut", "dddd............................................dddd",
     "D0+4 D48+4"},
    {"TheEndOfTheDisk", "d.........d", "D0+1 D10+100B", 0, 16, kLong, kPage - 100},
    {"CompletedAtTheEndOfTheDisk", "d..d..d....", "D0+41060B(1+2,4+2,7+12388B)", 0, 16, kLong,
     kPage - 100},
    {"APreferredBlockAtTheEndOfTheDisk", "................ddddd", "D16+16484B", 16, 16, kLong,
     kPage - 100},
    {"LongDataIsCut", "dddddddddddddddd", "D0+8 D8+8", 0, 16, 8},
    {"LongDataIsCutWithARest", "dddddddddddddd..", "D0+8 D8+6", 0, 16, 8},
    {"AUnitThatIsTooLongIsNotCompleted", "d..d..d.........", "D0+1 D3+1 D6+1", 0, 16, 8},
    {"NeighboursAreNotJoinedBeyondTheLongest", "dddddddddddddddddddddddddddddddd", "D0+16 D16+16",
     0, 16, 16},
    {"ZerosAreNotCut", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "Z0+32", 0, 16, 8},
};
INSTANTIATE_TEST_SUITE_P(Borders, WritePlan, ::testing::ValuesIn(kBorders),
                         [](const auto& each) { return each.param.name; });

// Zeros that nobody has written data around are never sent as data, whatever it costs.
const Case kZerosOnly[] = {
    {"ThreeRunsOfZeros", "z..z..z.........", "Z0+1 Z3+1 Z6+1"},
    {"AWholeBlockOfZerosAndHoles", "zzzzzzzzhhhhhhhh", "Z0+8 H8+8"},
    {"ZerosInAKnownBlock", "zcczcccccccccccc", "Z0+1 Z3+1"},
    {"ZerosInALargerPreferredBlock", "zzzz....zzzz....................", "Z0+4 Z8+4", 32},
};
INSTANTIATE_TEST_SUITE_P(ZerosOnly, WritePlan, ::testing::ValuesIn(kZerosOnly),
                         [](const auto& each) { return each.param.name; });

// --- What holds for every plan ---

char letter_at(const Case& each, std::uint64_t offset) {
  return each.pages[offset / kPage];
}

bool is_in(const std::vector<Range>& ranges, const Range& page) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Range& range) { return range.contains(page); });
}

std::vector<Range> pages_in(const Range& range) {
  std::vector<Range> pages;
  for (std::uint64_t at = range.offset; at < range.end(); at += kPage) {
    pages.push_back({at, std::min<std::uint64_t>(kPage, range.end() - at)});
  }
  return pages;
}

void check_data(const Case& each, const WriteRequest& request) {
  EXPECT_LE(request.range.length, each.longest_pages * kPage);
  std::uint64_t position = request.range.offset;
  for (const Range& part : request.missing) {
    ASSERT_GE(part.offset, position);
    ASSERT_FALSE(part.empty());
    position = part.end();
  }
  ASSERT_LE(position, request.range.end());
  for (const Range& page : pages_in(request.range)) {
    const bool is_missing = is_in(request.missing, page);
    const char letter = letter_at(each, page.offset);
    // What is clean in a block that sends nothing is not told to the planner.
    const bool may_be_missing = letter == '.' || letter == 'c' || letter == 'o';
    ASSERT_TRUE(letter != '.' || is_missing) << text_of({request});
    ASSERT_TRUE(!is_missing || may_be_missing) << text_of({request});
  }
}

void check_requests(const Case& each, const std::vector<WriteRequest>& requests) {
  std::uint64_t position = 0;
  std::string sent(each.pages.size(), '.');
  for (const WriteRequest& request : requests) {
    ASSERT_GE(request.range.offset, position);
    ASSERT_FALSE(request.range.empty());
    position = request.range.end();
    ASSERT_LE(position, disk_size_of(each));
    if (request.kind == Kind::data) check_data(each, request);
    for (const Range& page : pages_in(request.range)) {
      char& what = sent[page.offset / kPage];
      what = request.kind == Kind::data ? 'd' : request.kind == Kind::zero ? 'z' : 'h';
      ASSERT_TRUE(what == 'd' || letter_at(each, page.offset) == what);
    }
  }
  for (std::size_t page = 0; page < sent.size(); ++page) {
    const char letter = each.pages[page];
    const bool is_zero = letter == 'z' || letter == 'h';
    ASSERT_TRUE(letter != 'd' || sent[page] == 'd');
    ASSERT_TRUE(!is_zero || sent[page] == letter || sent[page] == 'd');
  }
}

// Requests below, counting a read of the layer's own for each preferred block covered in part.
std::uint64_t cost_of(const Case& each, const WriteRequest& request) {
  std::uint64_t cost = request.missing.empty() ? 1 : 2;
  const std::uint64_t preferred = each.preferred_pages * kPage;
  if (each.preferred_pages <= 1) return cost;
  const Range& range = request.range;
  for (std::uint64_t at = range.offset / preferred * preferred; at < range.end(); at += preferred) {
    const Range whole{at, std::min(preferred, disk_size_of(each) - at)};
    if (!range.contains(whole)) ++cost;
  }
  return cost;
}

// What a unit costs with every run of pages that are to be sent as a request of its own.
std::uint64_t cost_apart(const Case& each, std::uint64_t first, std::uint64_t end) {
  std::uint64_t cost = 0;
  for (std::uint64_t at = first; at < end;) {
    const char letter = each.pages[at];
    std::uint64_t stop = at + 1;
    while (stop < end && each.pages[stop] == letter) ++stop;
    if (letter == 'd' || letter == 'z' || letter == 'h') {
      const Range range{at * kPage, std::min(stop * kPage, disk_size_of(each)) - at * kPage};
      cost += cost_of(each, {Kind::data, range, {}});
    }
    at = stop;
  }
  return cost;
}

std::uint64_t best_cost(const Case& each) {
  const std::uint64_t unit = std::max<std::uint64_t>(each.block_pages, each.preferred_pages);
  std::uint64_t cost = 0;
  for (std::uint64_t first = 0; first < each.pages.size(); first += unit) {
    const std::uint64_t end = std::min<std::uint64_t>(each.pages.size(), first + unit);
    const std::string letters = each.pages.substr(first, end - first);
    const std::uint64_t apart = cost_apart(each, first, end);
    const bool has_data = letters.find('d') != std::string::npos;
    const bool has_zeros = letters.find_first_of("zh") != std::string::npos;
    const bool may_complete = has_data && (!has_zeros || each.preferred_pages > 1);
    cost += may_complete ? std::min<std::uint64_t>(apart, 2) : apart;
  }
  return cost;
}

Case random_case(std::mt19937& random) {
  Case each{.name = "random", .pages = {}, .requests = {}};
  each.block_pages = 1U << (random() % 5);
  each.preferred_pages = random() % 3 == 0 ? 0 : 1U << (random() % 7);
  each.longest_pages = random() % 2 == 0 ? kLong : 1U << (random() % 6);
  each.short_of_bytes = random() % 2 == 0 ? 0 : random() % kPage;
  const std::string letters = std::string("dzhco......").substr(random() % 5);
  const std::size_t count = 1 + random() % 200;
  while (each.pages.size() < count) {
    each.pages.append(1 + random() % 6, letters[random() % letters.size()]);
  }
  return each;
}

TEST(WritePlanInvariants, HoldForRandomPages) {
  std::mt19937 random(1);  // the same cases every time
  for (int i = 0; i < 5000; ++i) {
    const Case each = random_case(random);
    const auto requests = plan(each);
    SCOPED_TRACE(fmt::format("{} blocks of {}, preferred {}, longest {}: {}", each.pages,
                             each.block_pages, each.preferred_pages, each.longest_pages,
                             text_of(requests)));
    check_requests(each, requests);
    if (each.longest_pages == kLong) {
      std::uint64_t cost = 0;
      for (const WriteRequest& request : requests) cost += cost_of(each, request);
      EXPECT_LE(cost, best_cost(each));
    }
    if (::testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace nbdstack
