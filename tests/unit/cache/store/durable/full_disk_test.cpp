// The disk of a cache directory is full: nothing is lost, nothing is final, and a start finds the
// room that it needs in what is clean.
#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/cache/store/durable/durable_fixture.hpp"

namespace nbdstack::testing {
namespace {

class FullDiskTest : public DurableStoreTest {
 protected:
  int left_ = 0;  // for hooks

  int code_of(const std::function<void()>& body) {
    try {
      body();
      return 0;
    } catch (const Error& error) {
      return error.code();
    }
  }
  int commit_code() {
    return code_of([&] { store_->commit(); });
  }
};

TEST_F(FullDiskTest, CommitsFailWhileItLastsAndThenSucceed) {
  put(0, 0, 1, true);
  fail_on(Kind::write, "journal", ENOSPC);
  EXPECT_EQ(code_of([&] { store_->publish(); }), ENOSPC);
  EXPECT_EQ(commit_code(), ENOSPC);
  put(0, 1, 2, true);
  EXPECT_EQ(commit_code(), ENOSPC);
  EXPECT_EQ(store_->committed(0, 0b0011), 0U);
  disk_.set_hook({});
  EXPECT_EQ(commit_code(), 0);
  EXPECT_EQ(store_->committed(0, 0b0011), 0b0011U);
  crash(1);
  EXPECT_EQ(get(0, 0), 1);
  EXPECT_EQ(get(0, 1), 2);
  EXPECT_EQ(pages_of(0).dirty, 0b0011U);
}

TEST_F(FullDiskTest, WhatWasCommittedBeforeSurvivesWhatIsWrittenMeanwhile) {
  put(0, 0, 1, true);
  store_->commit();
  fail_on(Kind::write, "journal", EDQUOT);
  for (int value = 2; value < 8; ++value) {
    put(0, 0, value, true, 0b0001);
    EXPECT_EQ(commit_code(), EDQUOT);
  }
  crash(1);
  EXPECT_EQ(get(0, 0), 1);
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
}

TEST_F(FullDiskTest, TheJournalIsReplacedWhenThereIsRoomAgain) {
  store_->set_shortest_journal_bytes(500);
  for (int value = 1; value < 50; ++value) {
    if (value % 10 == 0) fail_on(Kind::write, "journal", ENOSPC);
    put(0, 0, value, true, value == 1 ? 0 : 0b0001);
    const int code = commit_code();
    EXPECT_EQ(code, value % 10 == 0 ? ENOSPC : 0);
    disk_.set_hook({});
  }
  EXPECT_TRUE(logged_errors().empty());
  crash(3);
  EXPECT_EQ(get(0, 0), 49);
}

// It would take all the room that clean blocks give back.
TEST_F(FullDiskTest, AfterALackOfRoomJournalsAreShort) {
  put(0, 0, 1, true);
  fail_on(Kind::write, "journal", ENOSPC);
  EXPECT_EQ(commit_code(), ENOSPC);
  disk_.set_hook({});
  std::size_t longest = 0;
  for (int value = 2; value < 2000; ++value) {
    put(0, 0, 1 + value % 100, true, 0b0001);
    ASSERT_EQ(commit_code(), 0);
    longest = std::max(longest, disk_.content(only_file("journal.")).size());
  }
  EXPECT_GT(longest, Journal::kReserve_bytes / 2);
  EXPECT_LE(longest, 2 * Journal::kReserve_bytes);
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(FullDiskTest, TooMuchThatWaitsForTheJournalIsRefusedAndHarmsNothing) {
  put(0, 0, 1, true);
  fail_on(Kind::write, "journal", ENOSPC);
  int value = 1;
  int code = 0;
  while (code == 0 && value < 200'000) {
    code = code_of([&] { put(0, 0, 1 + value % 100, true, 0b0001); });
    if (code == 0) ++value;
  }
  EXPECT_EQ(code, ENOSPC);
  disk_.set_hook({});
  EXPECT_EQ(get(0, 0), 1 + (value - 1) % 100);
  EXPECT_EQ(commit_code(), 0);
}

// Each page holds what was committed last or something later, whenever the disk is full and
// whenever the machine fails.
TEST_F(FullDiskTest, AnyHistoryWithCrashes) {
  constexpr Slot kSlots = 6;
  for (unsigned seed = 0; seed < 400; ++seed) {
    disk_ = SimulatedDisk();
    restart();
    store_->set_shortest_journal_bytes(2000);
    std::mt19937 random(seed);
    std::array<std::array<int, 4>, kSlots> latest{};
    auto committed = latest;
    int value = 0;
    bool full = false;
    for (int step = 0; step < 120; ++step) {
      const auto slot = static_cast<Slot>(random() % kSlots);
      const unsigned page = random() % 4;
      switch (random() % 8) {
        case 0:
          full = !full;
          if (full) {
            // The room ends in the middle of something.
            left_ = static_cast<int>(random() % 4);
            disk_.set_hook([this](const SimulatedDisk::Operation& operation) {
              const bool takes_room =
                  operation.kind == Kind::write || operation.kind == Kind::create;
              if (takes_room && !operation.name.starts_with("data") && left_-- <= 0) {
                throw Error(ENOSPC, "the disk says no");
              }
            });
          } else {
            disk_.set_hook({});
          }
          break;
        case 1:
        case 2:
          if (commit_code() == 0) committed = latest;
          break;
        case 3:
          code_of([&] { store_->publish(); });
          break;
        default: {
          PageMask stored = 0;
          for (unsigned each = 0; each < 4; ++each) {
            if (latest[slot][each] != 0) stored |= PageMask{1} << each;
          }
          value = value % 250 + 1;
          put(slot, page, value, true, stored);
          latest[slot][page] = value;
        }
      }
      if (value == 250) break;  // values only grow: later is larger
    }
    disk_.set_hook({});
    crash(seed);
    for (Slot slot = 0; slot < kSlots; ++slot) {
      for (unsigned page = 0; page < 4; ++page) {
        const Pages pages = pages_of(slot);
        const bool there = (pages.valid >> page & 1U) != 0;
        const int found = there ? get(slot, page) : 0;
        ASSERT_GE(found, committed[slot][page]) << "seed " << seed << " slot " << slot;
        ASSERT_LE(found, latest[slot][page]) << "seed " << seed << " slot " << slot;
      }
    }
  }
}

// --- Starts ---

class FullStartTest : public FullDiskTest {
 protected:
  void SetUp() override {
    for (Slot slot = 0; slot < 40; ++slot) put(slot, 0, 1 + static_cast<int>(slot), slot % 4 == 0);
    store_->commit();
  }
  // What is new finds room once so many slots have given theirs back.
  void need_punches(int count) {
    left_ = count;
    disk_.set_hook([this](const SimulatedDisk::Operation& operation) {
      if (operation.kind == Kind::punch) --left_;
      const bool takes_room = operation.kind == Kind::write && !operation.name.starts_with("data");
      if (takes_room && left_ > 0) throw Error(ENOSPC, "the disk says no");
    });
  }
};

TEST_F(FullStartTest, CleanBlocksMakeRoomAndDirtyOnesStay) {
  need_punches(20);
  restart();
  std::size_t clean = 0;
  for (Slot slot = 0; slot < 40; ++slot) {
    const Pages pages = pages_of(slot);
    if (slot % 4 == 0) {
      EXPECT_EQ(pages.dirty, 0b0001U) << slot;
      EXPECT_EQ(get(slot, 0), 1 + static_cast<int>(slot));
    } else if (pages.valid != 0) {
      ++clean;
      EXPECT_EQ(get(slot, 0), 1 + static_cast<int>(slot));
    }
  }
  EXPECT_LT(clean, 30U);
  disk_.set_hook({});
  crash(1);
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
  EXPECT_EQ(get(0, 0), 1);
}

TEST_F(FullStartTest, IsRefusedWithTheWayOutWhereNothingCanMakeRoomAndLosesNothing) {
  need_punches(1000);
  try {
    restart();
    FAIL() << "started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOSPC);
    EXPECT_NE(std::string(error.what()).find("free "), std::string::npos) << error.what();
  }
  disk_.set_hook({});
  restart();
  for (Slot slot = 0; slot < 40; slot += 4) {
    EXPECT_EQ(pages_of(slot).dirty, 0b0001U);
    EXPECT_EQ(get(slot, 0), 1 + static_cast<int>(slot));
  }
}

}  // namespace
}  // namespace nbdstack::testing
