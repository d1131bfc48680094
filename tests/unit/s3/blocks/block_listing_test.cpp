// Listings by several requests at a time: everything once, in few requests, and an end to all.
#include "plugins/s3/blocks/block_listing.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>

#include "common/error.hpp"
#include "tests/unit/s3/hashed_format.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::MemoryStore;
using testing::StoreCall;

constexpr std::uint64_t kManyBlocks = std::uint64_t{1} << 30U;
constexpr std::uint64_t kFew = 100'000;  // as many as a hashed volume has here

class BlockListingTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  void place(std::uint64_t count, std::uint64_t stride, std::uint64_t first = 0) {
    for (std::uint64_t i = 0; i < count; ++i) place_block({first + i * stride});
  }
  void place_block(BlockNumber block) {
    store_.place(format_->name_of(block), std::vector<std::byte>(block.value % 7));
    expected_.emplace(block, block.value % 7);
  }
  void use_hashed_names() {
    format_ = testing::hashed_format("", BlockGeometry(kFew * 4096, 4096));
  }

  // Lists all of [first, end) and checks that everything there is seen once.
  void list(BlockNumber first, BlockNumber end) {
    std::map<BlockNumber, std::uint64_t> seen;
    std::map<BlockNumber, BlockNumber> complete;
    BlockListing(store_, *format_, GetParam()).run(first, end, [&](const ListedBlocks& listed) {
      for (const ListedBlock& each : listed.blocks) {
        EXPECT_TRUE(seen.emplace(each.block, each.size_bytes).second)
            << "block " << each.block.value << " twice";
      }
      if (format_->names_are_ordered()) expect_in_order(listed);
      if (listed.first < listed.end) {
        for (auto at = expected_.lower_bound(listed.first);
             at != expected_.end() && at->first < listed.end; ++at) {
          EXPECT_TRUE(seen.contains(at->first)) << "said to be complete";
        }
        EXPECT_TRUE(complete.emplace(listed.first, listed.end).second);
      }
      return true;
    });
    std::map<BlockNumber, std::uint64_t> wanted;
    for (const auto& [block, size] : expected_) {
      if (block >= first && block < end) wanted.emplace(block, size);
    }
    EXPECT_EQ(seen, wanted);
    BlockNumber position = first;
    for (const auto& [from, to] : complete) {
      EXPECT_EQ(from, position) << "ranges neither overlap nor leave anything out";
      position = to;
    }
    EXPECT_EQ(position, end);
  }
  static void expect_in_order(const ListedBlocks& listed) {
    for (std::size_t i = 0; i < listed.blocks.size(); ++i) {
      EXPECT_GE(listed.blocks[i].block, listed.first);
      EXPECT_LT(listed.blocks[i].block, listed.end);
      if (i == 0) continue;
      EXPECT_LT(listed.blocks[i - 1].block, listed.blocks[i].block);
    }
  }
  // What the header promises.
  void expect_few_requests() {
    const std::size_t n = store_.keys().size();
    const std::size_t pages = std::max<std::size_t>((n + 999) / 1000, 1);
    std::size_t extra = 0;
    if (GetParam() > 1) extra = std::min(n / 1000, BlockListing::kHalvings_max);
    if (!format_->names_are_ordered()) extra = n > 1000 ? 17 : 0;
    EXPECT_LE(store_.list_requests(), pages + extra) << n << " objects";
    EXPECT_LE(store_.most_calls_at_once(), GetParam());
  }

  MemoryStore store_;
  std::shared_ptr<const BlockFormat> format_ = testing::plain_format("disk", 4096);
  std::map<BlockNumber, std::uint64_t> expected_;
};

INSTANTIATE_TEST_SUITE_P(Requests, BlockListingTest, ::testing::Values(1, 2, 8));

// --- Names in order ---

TEST_P(BlockListingTest, AnEmptyVolumeTakesOneRequest) {
  list({0}, {kManyBlocks});
  EXPECT_EQ(store_.list_requests(), 1U);
}

TEST_P(BlockListingTest, NothingAskedForIsNoRequest) {
  list({5}, {5});
  EXPECT_EQ(store_.list_requests(), 0U);
}

TEST_P(BlockListingTest, UpToAPageIsOneRequest) {
  for (const std::uint64_t count : {1U, 999U, 1000U}) {
    place(count, 1);
    list({0}, {count});
    EXPECT_EQ(store_.list_requests(), 1U) << count;
    store_.forget_calls();
  }
}

TEST_P(BlockListingTest, PagesThatJustFitOrJustDoNot) {
  place(999, 1000);
  list({0}, {kManyBlocks});
  expect_few_requests();
  for (const std::uint64_t block : {kManyBlocks / 2, kManyBlocks - 1}) {
    store_.forget_calls();
    place_block({block});
    list({0}, {kManyBlocks});
    expect_few_requests();
  }
}

TEST_P(BlockListingTest, ADenseVolume) {
  place(10'000, 1);
  list({0}, {10'000});
  expect_few_requests();
}

TEST_P(BlockListingTest, ASparseVolume) {
  place(10'000, kManyBlocks / 10'000);
  list({0}, {kManyBlocks});
  expect_few_requests();
}

TEST_P(BlockListingTest, AVolumeWithEverythingInItsFirstHundredth) {
  place(10'000, kManyBlocks / 100 / 10'000);
  list({0}, {kManyBlocks});
  expect_few_requests();
}

TEST_P(BlockListingTest, AVolumeWithEverythingAtItsVeryStartOrEnd) {
  place(10'000, 1);
  list({0}, {kManyBlocks});
  expect_few_requests();
  store_.forget_calls();
  place(10'000, 1, kManyBlocks - 10'000);
  list({0}, {kManyBlocks});
  expect_few_requests();
}

TEST_P(BlockListingTest, RandomVolumesAndRanges) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const std::uint64_t blocks = std::uint64_t{1} << (10 + random() % 20);
    for (int i = 0; i < 2000; ++i) place_block({random() % blocks});
    const std::uint64_t first = random() % blocks;
    list({first}, {first + random() % (blocks - first) + 1});
  }
}

TEST_P(BlockListingTest, OtherKeysInBetweenAreNoBlocks) {
  place(3000, 5);
  for (std::uint64_t i = 0; i < 3000; ++i) {
    store_.place(format_->name_of({i * 5}) + "-old", {});
    store_.place(format_->name_of({i * 5 + 1}) + "/0000000000000000", {});
  }
  store_.place("disk/nbdstack-volume.json", {});
  store_.place("disk/000", {});
  store_.place("disk/", {});
  list({0}, {kManyBlocks});
  list({500}, {10'000});
}

TEST_P(BlockListingTest, SeveralRequestsAreUnderWayAtATime) {
  place(20'000, kManyBlocks / 20'000);
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t arrived = 0;
  std::size_t pages = 0;
  // Requests after the first two wait until as many as allowed are there.
  store_.on_call([&](const StoreCall& /*call*/) {
    std::unique_lock lock(mutex);
    if (++pages <= 2) return;
    ++arrived;
    changed.notify_all();
    changed.wait(lock, [&] { return arrived >= std::min<std::size_t>(GetParam(), 2); });
  });
  list({0}, {kManyBlocks});
  EXPECT_LE(store_.most_calls_at_once(), GetParam());
  EXPECT_EQ(store_.most_calls_at_once() > 1, GetParam() > 1);
}

TEST_P(BlockListingTest, InOrderMeansInOrder) {
  place(3500, 3);
  BlockNumber position{100};
  std::size_t count = 0;
  BlockListing::run_in_order(store_, *format_, {100}, {9000}, [&](const ListedBlocks& listed) {
    EXPECT_EQ(listed.first, position);
    expect_in_order(listed);
    position = listed.end;
    count += listed.blocks.size();
    return true;
  });
  EXPECT_EQ(position, BlockNumber{9000});
  EXPECT_EQ(count, 3000U - 34U);
  EXPECT_EQ(store_.list_requests(), 3U);
}

// --- Names by hash ---

TEST_P(BlockListingTest, HashedNamesUpToAPageAreOneRequest) {
  use_hashed_names();
  for (const std::uint64_t count : {0U, 1U, 999U, 1000U}) {
    place(count, 1);
    list({0}, {kFew});
    EXPECT_EQ(store_.list_requests(), 1U) << count;
    store_.forget_calls();
  }
}

TEST_P(BlockListingTest, HashedNamesOfALargeVolume) {
  use_hashed_names();
  for (const std::uint64_t count : {std::uint64_t{1001}, std::uint64_t{20'000}}) {
    place(count, 5);
    list({0}, {kFew});
    expect_few_requests();
    store_.forget_calls();
  }
  list({500}, {kFew / 2});
}

TEST_P(BlockListingTest, HashedNamesAmongOtherKeys) {
  use_hashed_names();
  place(2000, 3);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    store_.place(format_->name_of({i * 3}) + "0", {});
    store_.place(fmt::format("{:08x}", i), {});
    store_.place(fmt::format("00000000-{:08x}", i + 1), {});  // the hash of another number
  }
  list({0}, {kFew});
}

TEST_P(BlockListingTest, HashedNamesAreCompleteOnlyInTheEnd) {
  use_hashed_names();
  place(5000, 1);
  std::size_t completed = 0;
  BlockListing(store_, *format_, GetParam()).run({0}, {kFew}, [&](const ListedBlocks& listed) {
    EXPECT_EQ(completed, 0U) << "the complete range comes last";
    if (listed.first < listed.end) ++completed;
    return true;
  });
  EXPECT_EQ(completed, 1U);
}

// --- Ends ---

TEST_P(BlockListingTest, AVisitorWhoHasEnoughIsNotCalledAgain) {
  for (const bool hashed : {false, true}) {
    SCOPED_TRACE(hashed ? "hashed" : "in order");
    if (hashed) use_hashed_names();
    place(20'000, 1);
    store_.forget_calls();
    std::size_t visits = 0;
    BlockListing(store_, *format_, GetParam()).run({0}, {kFew}, [&](const ListedBlocks&) {
      ++visits;
      return false;
    });
    EXPECT_EQ(visits, 1U);
    // Each thread ends with the request it is at, and the hashed one has sent two for a start.
    EXPECT_LE(store_.list_requests(), GetParam() + 2);
  }
}

// Among keys that are no blocks as well: a bucket may hold millions of them.
TEST_P(BlockListingTest, AListingOfOtherKeysCanBeEnded) {
  for (const bool hashed : {false, true}) {
    SCOPED_TRACE(hashed ? "hashed" : "in order");
    if (hashed) use_hashed_names();
    for (int i = 0; i < 20'000; ++i) store_.place(fmt::format("disk/000{:08}", i), {});
    for (int i = 0; i < 20'000; ++i) store_.place(fmt::format("0{:08}", i), {});
    store_.forget_calls();
    BlockListing(store_, *format_, GetParam()).run({0}, {kFew}, [&](const ListedBlocks&) {
      return false;
    });
    EXPECT_LE(store_.list_requests(), GetParam() + 16);
  }
}

TEST_P(BlockListingTest, AnErrorOfTheStoreEndsAllAndComesOut) {
  for (const bool hashed : {false, true}) {
    SCOPED_TRACE(hashed ? "hashed" : "in order");
    if (hashed) use_hashed_names();
    place(20'000, 1);
    store_.forget_calls();
    std::atomic<std::size_t> pages{0};
    store_.on_call([&](const StoreCall& /*call*/) {
      if (++pages == 5) throw Error(ETIMEDOUT, "the service sleeps");
    });
    std::size_t complete = 0;
    try {
      BlockListing(store_, *format_, GetParam()).run({0}, {kFew}, [&](const ListedBlocks& listed) {
        complete += listed.end.value - listed.first.value;
        return true;
      });
      FAIL() << "the error was lost";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ETIMEDOUT);
    }
    EXPECT_LT(complete, kFew);
    EXPECT_LE(pages, 5 + 2 * GetParam()) << "the others have ended, too";
  }
}

TEST_P(BlockListingTest, AnErrorOfTheVisitorComesOut) {
  for (const bool hashed : {false, true}) {
    if (hashed) use_hashed_names();
    place(5000, 1);
    EXPECT_THROW(BlockListing(store_, *format_, GetParam())
                     .run({0}, {kFew},
                          [&](const ListedBlocks&) -> bool { throw Error(ENOMEM, "no memory"); }),
                 Error);
  }
}

}  // namespace
}  // namespace nbdstack
