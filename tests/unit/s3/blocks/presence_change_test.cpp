// A volume that nobody else writes to, listed while it changes, and when things fail: what it does
// not know, or cannot be sure of, it asks for.
#include "plugins/s3/blocks/presence.hpp"

#include <algorithm>
#include <future>
#include <random>

#include "common/error.hpp"
#include "tests/unit/s3/blocks/presence_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;
using testing::Gate;
using testing::is_list;
using testing::kObject;
using testing::kTiB;
using testing::StoreCall;
using testing::StoreOp;

class PresenceChangeTest : public testing::VolumeOfOurs {};

// --- Changes during the listing ---

TEST_F(PresenceChangeTest, ChangesWhileTheListingIsUnderWayReadRight) {
  for (std::uint64_t i = 0; i < 2500; ++i) place(2 * i);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::next_page) gate.pass();
  });
  open();
  gate.wait_for_arrivals(1);  // the first page is known, the others are not
  store_.on_call({});

  const auto check = [&] {
    EXPECT_EQ(read(101), content(1));
    EXPECT_EQ(read(4001), content(2));
    EXPECT_EQ(read(100), zeros_);
    EXPECT_EQ(read(4000), zeros_);
    EXPECT_EQ(read(4002), content(3));
    EXPECT_EQ(read(4004), content(4004));
    EXPECT_EQ(read(4005), zeros_);
    EXPECT_EQ(read(99), zeros_);
  };
  write(101, content(1));
  write(4001, content(2));
  trim(100, 1);
  trim(4000, 1);
  write(4002, content(3));
  check();
  gate.open();
  volume_->wait_until_listed();
  check();
  trim(0, 6000);
  EXPECT_TRUE(store_.keys().empty());
  store_.forget_calls();
  EXPECT_EQ(extents(6000 * kObject, 0), (std::vector<Extent>{{{0, 6000 * kObject}, kHole}}));
  EXPECT_TRUE(store_.calls().empty());
}

// The page was made before the changes, and is learnt after them.
TEST_F(PresenceChangeTest, AListingOlderThanAChangeKnowsNoBetter) {
  place(3);
  Gate gate;
  store_.on_page_made([&] { gate.pass(); });
  open();
  gate.wait_for_arrivals(1);
  store_.on_page_made({});
  write(5, content(5));
  trim(3, 1);
  gate.open();
  volume_->wait_until_listed();
  EXPECT_EQ(read(5), content(5));
  store_.forget_calls();
  EXPECT_EQ(read(3), zeros_);
  EXPECT_EQ(read(4), zeros_);
  EXPECT_TRUE(store_.calls().empty());
}

TEST_F(PresenceChangeTest, AChangeThatBeginsBeforeAPageIsMadeAndEndsAfterItIsLearnt) {
  place(3);
  Gate listing;
  Gate changes;
  store_.on_call([&](const StoreCall& call) { (is_list(call) ? listing : changes).pass(); });
  open();
  listing.wait_for_arrivals(1);
  auto writing = std::async(std::launch::async, [&] { write(5, content(5)); });
  changes.wait_for_arrivals(1);
  auto trimming = std::async(std::launch::async, [&] { volume_->zero(kObject, 3 * kObject, {}); });
  listing.open();
  volume_->wait_until_listed();
  changes.open();
  writing.get();
  trimming.get();
  EXPECT_EQ(read(5), content(5));
  EXPECT_EQ(read(3), zeros_);
  trim(0, 10);
  EXPECT_TRUE(store_.keys().empty());
}

// --- Failures ---

TEST_F(PresenceChangeTest, AFailedListingLeavesEverythingToBeAskedFor) {
  place(3);
  store_.on_call([](const StoreCall& /*call*/) { throw Error(EACCES, "no listing for you"); });
  open();
  volume_->wait_until_listed();
  store_.on_call({});
  store_.forget_calls();
  EXPECT_EQ(read(3), content(3));
  EXPECT_EQ(read(4), zeros_);
  EXPECT_EQ(store_.calls(StoreOp::get).size(), 2U);
  volume_->pwrite(Bytes(10), 3 * kObject, Durability::on_flush);
  EXPECT_EQ(store_.calls(StoreOp::get).size(), 3U) << "the rest of the block is kept";
  trim(0, 100);
  EXPECT_EQ(store_.list_requests(), 1U);
  EXPECT_EQ(removed(), std::vector<std::string>{name_of(3)});
  store_.forget_calls();
  trim(0, 100);
  EXPECT_EQ(read(50), zeros_);
  EXPECT_TRUE(store_.calls().empty()) << "the answer is remembered";
}

TEST_F(PresenceChangeTest, AListingThatFailsOnItsWayKeepsWhatItLearnt) {
  for (std::uint64_t i = 0; i < 2500; ++i) place(2 * i);
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::next_page) throw Error(ETIMEDOUT, "gone");
  });
  open_listed();
  EXPECT_EQ(read(1), zeros_);
  EXPECT_TRUE(store_.calls().empty());
  EXPECT_EQ(read(4000), content(4000));
  EXPECT_EQ(read(4001), zeros_);
  EXPECT_EQ(store_.calls(StoreOp::get).size(), 2U);
}

TEST_F(PresenceChangeTest, AWriteWhoseAnswerWasLostIsNotTakenForAbsent) {
  open_listed();
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::put) return;
    place(5);
    throw Error(ETIMEDOUT, "stored, but who knows");
  });
  EXPECT_THROW(write(5, content(5)), Error);
  store_.on_call({});
  EXPECT_EQ(read(5), content(5));
  trim(0, 100);
  EXPECT_EQ(removed(), std::vector<std::string>{name_of(5)});
}

TEST_F(PresenceChangeTest, ARemovalWhoseAnswerWasLostIsSentAgain) {
  place(5);
  place(6);
  open_listed();
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::remove) return;
    store_.drop(name_of(5));
    throw Error(ETIMEDOUT, "one of them");
  });
  EXPECT_THROW(trim(0, 100), Error);
  store_.on_call({});
  EXPECT_EQ(read(5), zeros_);
  EXPECT_EQ(read(6), content(6));
  store_.forget_calls();
  trim(0, 100);
  EXPECT_EQ(removed(), (std::vector<std::string>{name_of(5), name_of(6)}));
}

// --- Ownership ---

TEST_F(PresenceChangeTest, WhoLosesTheVolumeAsksAgain) {
  open_listed();
  EXPECT_EQ(read(5), zeros_);
  is_owner_ = false;
  place(5);  // the successor's
  EXPECT_EQ(read(5), content(5));
  EXPECT_EQ(extents(kObject, 5 * kObject), (std::vector<Extent>{{{5 * kObject, kObject}, kData}}));
  EXPECT_EQ(
      extents(2 * kObject, 4 * kObject),
      (std::vector<Extent>{{{4 * kObject, kObject}, kHole}, {{5 * kObject, kObject}, kData}}));
  EXPECT_EQ(store_.calls(StoreOp::get).size() + store_.calls(StoreOp::get_range).size(), 1U);
}

TEST_F(PresenceChangeTest, WithoutAnOwnerNothingIsListed) {
  volume_ = std::make_unique<Volume>(store_, format_, BlockGeometry(kTiB, kObject),
                                     VolumeOptions{.connections = 4});
  volume_->wait_until_listed();
  EXPECT_TRUE(store_.calls().empty());
  EXPECT_EQ(read(5), zeros_);
  EXPECT_EQ(store_.calls().size(), 1U);
}

// --- The end ---

TEST_F(PresenceChangeTest, AVolumeMayGoWhileItsListingHangs) {
  for (std::uint64_t i = 0; i < 5000; ++i) place(i);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::next_page) gate.pass();
  });
  open();
  gate.wait_for_arrivals(1);
  auto closing = std::async(std::launch::async, [&] { volume_.reset(); });
  gate.open();
  closing.get();
  EXPECT_LE(store_.list_requests(), 5U);
}

// --- Everything at once ---

// Threads with blocks of their own, while the listing goes on: each compares with its own model.
TEST_F(PresenceChangeTest, RandomRequestsFromManyThreadsDuringTheListingMatchAModel) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kBlocks = 500;  // of each
  constexpr std::uint64_t kDisk = 64UL * 1024 * 1024;
  for (const bool hashed : {false, true}) {
    if (hashed) use_hashed_names();
    for (std::uint64_t i = 0; i < kThreads * kBlocks; i += 3) place(i);
    for (std::uint64_t i = 0; i < 6000; ++i) place(kThreads * kBlocks + i);
    open(kDisk);
    const auto work = [&](std::uint64_t thread) {
      std::mt19937 random(static_cast<unsigned>(thread));
      const std::uint64_t base = thread * kBlocks;
      std::vector<Bytes> model;
      for (std::uint64_t i = base; i < base + kBlocks; ++i) {
        model.push_back(i % 3 == 0 ? content(i) : zeros_);
      }
      for (int step = 0; step < 400; ++step) {
        const std::uint64_t at = random() % kBlocks;
        const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(kBlocks - at, 20);
        switch (random() % 5) {
          case 0:
            model[at] = content(random() % 1000);
            write(base + at, model[at]);
            break;
          case 1:
            trim(base + at, count);
            std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(at), count, zeros_);
            break;
          case 2:
            volume_->pwrite(Bytes(9, std::byte{9}), (base + at) * kObject + 3,
                            Durability::on_flush);
            std::fill_n(model[at].begin() + 3, 9, std::byte{9});
            break;
          case 3:
            zero(100, (base + at) * kObject + 1);
            std::fill_n(model[at].begin() + 1, 100, std::byte{0});
            break;
          default:
            extents(count * kObject, (base + at) * kObject);
            ASSERT_EQ(read(base + at), model[at]) << "block " << base + at << ", step " << step;
        }
      }
      volume_->wait_until_listed();
      for (std::uint64_t i = 0; i < kBlocks; ++i) ASSERT_EQ(read(base + i), model[i]);
    };
    std::vector<std::future<void>> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      threads.push_back(std::async(std::launch::async, work, thread));
    }
    for (auto& thread : threads) thread.get();
    EXPECT_FALSE(store_.saw_overlapping_writes());
    volume_.reset();
  }
}

}  // namespace
}  // namespace nbdstack
