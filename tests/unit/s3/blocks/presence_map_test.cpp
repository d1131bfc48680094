// What is known of which blocks have objects, in every order of listings and changes.
#include "plugins/s3/blocks/presence_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>

namespace nbdstack {
namespace {

using Blocks = std::vector<BlockNumber>;

constexpr BlockNumber kFive{5};

bool yes() {
  return true;
}

void change(PresenceMap& map, BlockNumber block) {
  map.change(std::span(&block, 1));
}
void removed(PresenceMap& map, BlockNumber block) {
  map.removed(std::span(&block, 1));
}

enum class Known { nothing, absent, candidate };

// A block that is present and one that is doubtful answer alike.
Known known(const PresenceMap& map, BlockNumber block) {
  const auto candidates = map.candidates(block, block.next());
  if (!candidates.has_value()) {
    EXPECT_FALSE(map.is_absent(block));
    return Known::nothing;
  }
  EXPECT_EQ(map.is_absent(block), candidates->empty());
  return candidates->empty() ? Known::absent : Known::candidate;
}

// --- One block through its states ---

TEST(PresenceMapTest, NothingIsKnownAtFirst) {
  const PresenceMap map(yes);
  EXPECT_EQ(known(map, kFive), Known::nothing);
  EXPECT_EQ(map.runs(), 0U);
}

TEST(PresenceMapTest, AListingTellsWhatIsThereAndWhatIsNot) {
  PresenceMap map(yes);
  map.learn(Blocks{{3}, {5}}, {2}, {8});
  EXPECT_EQ(known(map, {1}), Known::nothing);
  EXPECT_EQ(known(map, {2}), Known::absent);
  EXPECT_EQ(known(map, {3}), Known::candidate);
  EXPECT_EQ(known(map, {4}), Known::absent);
  EXPECT_EQ(known(map, {5}), Known::candidate);
  EXPECT_EQ(known(map, {7}), Known::absent);
  EXPECT_EQ(known(map, {8}), Known::nothing);
}

TEST(PresenceMapTest, WhatIsListedOutsideTheCompleteRangeIsLearntAsWell) {
  PresenceMap map(yes);
  map.learn(Blocks{{9}, {3}}, {0}, {0});
  EXPECT_EQ(known(map, {9}), Known::candidate);
  EXPECT_EQ(known(map, {3}), Known::candidate);
  EXPECT_EQ(known(map, {4}), Known::nothing);
}

// From any state: a change that is under way, or has failed, may have left an object or none.
TEST(PresenceMapTest, AChangeMakesItDoubtfulUntilItSucceeds) {
  for (const Known before : {Known::nothing, Known::absent, Known::candidate}) {
    PresenceMap map(yes);
    if (before == Known::absent) map.learn({}, {0}, {10});
    if (before == Known::candidate) map.learn(Blocks{kFive}, {0}, {10});
    ASSERT_EQ(known(map, kFive), before);
    change(map, kFive);
    EXPECT_EQ(known(map, kFive), Known::candidate);
    map.learn({}, {0}, {10});
    EXPECT_EQ(known(map, kFive), Known::candidate) << "a listing knows no better";
    map.stored(kFive);
    EXPECT_EQ(known(map, kFive), Known::candidate);
    change(map, kFive);
    removed(map, kFive);
    EXPECT_EQ(known(map, kFive), Known::absent);
  }
}

// --- A listing that is older than a change ---

// The events of a change and of a listing, in every order that keeps each of the two in its own:
// what the map says in the end must not be wrong.
enum class Event { change, apply, succeed, make_page, learn };

struct Story {
  bool exists_before;
  bool stores;  // else removes
  bool succeeds;
};

void tell(const Story& story, const std::vector<Event>& events) {
  PresenceMap map(yes);
  bool exists = story.exists_before;
  Blocks page;
  for (const Event event : events) {
    if (event == Event::change) change(map, kFive);
    if (event == Event::apply) exists = story.stores;
    if (event == Event::succeed && story.succeeds && story.stores) map.stored(kFive);
    if (event == Event::succeed && story.succeeds && !story.stores) removed(map, kFive);
    if (event == Event::make_page && exists) page = {kFive};
    if (event == Event::learn) map.learn(page, {0}, {10});
    EXPECT_FALSE(exists && map.is_absent(kFive)) << "an object would read as zeros";
  }
  const Known expected = story.succeeds && !story.stores ? Known::absent : Known::candidate;
  EXPECT_EQ(known(map, kFive), expected);
}

TEST(PresenceMapTest, NoOrderOfAListingAndAChangeGoesWrong) {
  // Where the two events of the listing go among the three of the change.
  for (std::size_t page_at = 0; page_at <= 3; ++page_at) {
    for (std::size_t learn_at = page_at; learn_at <= 3; ++learn_at) {
      std::vector<Event> events{Event::change, Event::apply, Event::succeed};
      events.insert(events.begin() + static_cast<std::ptrdiff_t>(learn_at), Event::learn);
      events.insert(events.begin() + static_cast<std::ptrdiff_t>(page_at), Event::make_page);
      for (unsigned bits = 0; bits < 8; ++bits) {
        SCOPED_TRACE(::testing::Message()
                     << "page at " << page_at << ", learnt at " << learn_at << ", story " << bits);
        tell({.exists_before = (bits & 1U) != 0,
              .stores = (bits & 2U) != 0,
              .succeeds = (bits & 4U) != 0},
             events);
      }
    }
  }
}

TEST(PresenceMapTest, AFailedChangeStaysInDoubtUntilOneSucceeds) {
  PresenceMap map(yes);
  change(map, kFive);
  map.learn({}, {0}, {10});
  map.learn(Blocks{kFive}, {0}, {10});
  EXPECT_EQ(known(map, kFive), Known::candidate);
  change(map, kFive);
  EXPECT_EQ(known(map, kFive), Known::candidate);
  removed(map, kFive);
  EXPECT_EQ(known(map, kFive), Known::absent);
}

// --- Ranges ---

TEST(PresenceMapTest, CandidatesAreRunsWithinWhatWasAskedFor) {
  PresenceMap map(yes);
  map.learn(Blocks{{2}, {3}, {4}, {8}}, {0}, {10});
  change(map, {5});  // doubtful beside present: one run of candidates
  using Runs = std::vector<Range>;
  EXPECT_EQ(map.candidates({0}, {10}), (Runs{{2, 4}, {8, 1}}));
  EXPECT_EQ(map.candidates({3}, {6}), (Runs{{3, 3}}));
  EXPECT_EQ(map.candidates({6}, {8}), Runs());
  EXPECT_EQ(map.candidates({6}, {6}), Runs());
}

TEST(PresenceMapTest, ARangeIsKnownOnlyAsAWhole) {
  PresenceMap map(yes);
  map.learn({}, {2}, {5});
  map.learn({}, {6}, {9});
  EXPECT_EQ(map.candidates({1}, {4}), std::nullopt);
  EXPECT_EQ(map.candidates({3}, {6}), std::nullopt);
  EXPECT_EQ(map.candidates({4}, {7}), std::nullopt);
  EXPECT_EQ(map.candidates({7}, {10}), std::nullopt);
  EXPECT_TRUE(map.candidates({2}, {5}).has_value());
}

TEST(PresenceMapTest, ChangesOfManyBlocksNeedNoOrder) {
  PresenceMap map(yes);
  map.learn({}, {0}, {20});
  const Blocks blocks{{7}, {8}, {9}, {3}, {3}, {15}};
  map.change(blocks);
  EXPECT_EQ(map.candidates({0}, {20}), (std::vector<Range>{{3, 1}, {7, 3}, {15, 1}}));
  map.removed(blocks);
  EXPECT_EQ(map.candidates({0}, {20}), std::vector<Range>());
}

// --- Memory ---

TEST(PresenceMapTest, AMillionStoredBlocksInARowAreOneRun) {
  PresenceMap map(yes);
  constexpr std::uint64_t kCount = 1'000'000;
  for (std::uint64_t first = 0; first < kCount; first += 1000) {
    Blocks page;
    for (std::uint64_t i = first; i < first + 1000; ++i) page.push_back({i});
    map.learn(page, {first}, {first + 1000});
  }
  EXPECT_EQ(map.runs(), 1U);
}

TEST(PresenceMapTest, BlocksWrittenOneByOneAreOneRunInTheEnd) {
  PresenceMap map(yes);
  map.learn({}, {0}, {std::uint64_t{1} << 51U});
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    change(map, {i});
    map.stored({i});
  }
  EXPECT_EQ(map.runs(), 2U);
}

TEST(PresenceMapTest, BlocksListedByHashAreOneRunInTheEnd) {
  PresenceMap map(yes);
  Blocks all(10'000);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = {i};
  std::shuffle(all.begin(), all.end(), std::mt19937(1));
  for (std::size_t first = 0; first < all.size(); first += 1000) {
    map.learn(std::span(all).subspan(first, 1000), {0}, {0});
  }
  map.learn({}, {0}, {1U << 30U});
  EXPECT_EQ(map.runs(), 2U);
}

// --- The owner ---

TEST(PresenceMapTest, WhoIsNotTheOwnerGetsNoAnswer) {
  std::atomic<bool> is_owner{true};
  PresenceMap map([&] { return is_owner.load(); });
  map.learn({}, {0}, {10});
  EXPECT_TRUE(map.is_absent(kFive));
  is_owner = false;
  EXPECT_FALSE(map.is_absent(kFive));
  EXPECT_EQ(map.candidates({0}, {10}), std::nullopt);
}

TEST(PresenceMapTest, ChangesMadeInDoubtAreRemembered) {
  std::atomic<bool> is_owner{true};
  PresenceMap map([&] { return is_owner.load(); });
  map.learn({}, {0}, {10});
  is_owner = false;
  change(map, kFive);
  map.stored(kFive);
  is_owner = true;
  EXPECT_EQ(known(map, kFive), Known::candidate);
}

TEST(PresenceMapTest, WithoutAnOwnerNothingIsKept) {
  PresenceMap map({});
  EXPECT_FALSE(map.is_in_use());
  map.learn(Blocks{kFive}, {0}, {10});
  change(map, kFive);
  map.stored(kFive);
  removed(map, {6});
  EXPECT_EQ(map.runs(), 0U);
  EXPECT_EQ(known(map, kFive), Known::nothing);
}

// --- Against a naive model ---

TEST(PresenceMapTest, RandomEventsMatchAModel) {
  constexpr std::uint64_t kBlocks = 64;
  enum class State { unknown, absent, candidate };
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto any = [&](std::uint64_t below) { return random() % below; };
    PresenceMap map(yes);
    std::array<State, kBlocks> model{};
    for (int step = 0; step < 100; ++step) {
      const std::uint64_t first = any(kBlocks);
      const std::uint64_t end = first + any(kBlocks - first + 1);
      Blocks blocks;
      for (std::uint64_t i = first; i < end; ++i) {
        if (any(3) != 0) blocks.push_back({i});
      }
      const auto event = any(4);
      if (event == 0) {
        map.learn(blocks, {first}, {end});
        for (const BlockNumber block : blocks) {
          if (model.at(block.value) == State::unknown) model.at(block.value) = State::candidate;
        }
        for (std::uint64_t i = first; i < end; ++i) {
          if (model.at(i) == State::unknown) model.at(i) = State::absent;
        }
      } else if (event == 1) {
        map.change(blocks);
        for (const BlockNumber block : blocks) model.at(block.value) = State::candidate;
      } else if (event == 2) {
        map.removed(blocks);
        for (const BlockNumber block : blocks) model.at(block.value) = State::absent;
      } else {
        map.stored({first});
        model.at(first) = State::candidate;
      }
      for (std::uint64_t i = 0; i < kBlocks; ++i) {
        const Known expected = model.at(i) == State::unknown  ? Known::nothing
                               : model.at(i) == State::absent ? Known::absent
                                                              : Known::candidate;
        ASSERT_EQ(known(map, {i}), expected) << "seed " << seed << ", step " << step;
      }
      const auto runs = map.candidates({first}, {end});
      const bool all_known = std::none_of(model.begin() + static_cast<std::ptrdiff_t>(first),
                                          model.begin() + static_cast<std::ptrdiff_t>(end),
                                          [](State state) { return state == State::unknown; });
      ASSERT_EQ(runs.has_value(), all_known);
    }
  }
}

}  // namespace
}  // namespace nbdstack
