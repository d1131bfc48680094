// Lives of a volume over a store whose listings lag, leave out and misspell: owners that end well
// or crash, servers without a lease in between, requests that fail. Every byte is compared with a
// model, in thousands of histories, each of its own seed. The same histories find faults where
// listings are believed.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "common/error.hpp"
#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/s3/blocks/lying_lister.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::kObject;
using testing::LyingLister;

constexpr std::uint64_t kLiesBlocks = 12;
constexpr std::uint64_t kLiesSector = 512;
constexpr std::uint64_t kLiesSectors = kLiesBlocks * kObject / kLiesSector;

class LyingHistory {
 public:
  LyingHistory(std::uint64_t seed, bool listings_are_believed)
      : rng_(seed), store_(seed + 1), are_believed_(listings_are_believed) {
    store_.set_lists_are_proof(listings_are_believed);
  }

  // The number of sectors that were read wrong, or shown as holes and are none.
  std::size_t run() {
    const std::size_t lives = 2 + draw(3);
    for (std::size_t life = 0; life < lives; ++life) {
      if (draw(5) == 0) {
        live_without_lease();
      } else {
        live_as_owner(life == 0);
      }
    }
    live_as_owner(false);
    return wrong_;
  }

 private:
  std::uint64_t draw(std::uint64_t below) { return rng_() % below; }

  BlockMemory memory() {
    return {{.place = "bucket b", .key = "disk", .id = "id", .block_count = kLiesBlocks},
            processes_};
  }

  void live_as_owner(bool is_new) {
    const std::string owner = "owner " + std::to_string(rng_());
    BlockMemory memory = this->memory();
    const KnownBlocks known = is_new && !predecessor_ ? no_blocks_stored(kLiesBlocks)
                                                      : memory.recall(store_, predecessor_);
    const auto map = std::make_shared<PresenceMap>([] { return true; }, known);
    use({.connections = 1, .map = are_believed_ ? fresh_map() : map});
    const bool ends_well = draw(3) != 0;
    if (ends_well) {
      memory.remember(store_, {.support = ConditionSupport::with_quotes}, owner, map->known());
    }
    leave_lease(owner, ends_well);
  }
  static std::shared_ptr<PresenceMap> fresh_map() {
    return std::make_shared<PresenceMap>([] { return true; });
  }

  void leave_lease(const std::string& owner, bool released) {
    SeenLease lease;
    lease.record.emplace();
    lease.record->owner = owner;
    lease.record->state = released ? LeaseRecord::State::released : LeaseRecord::State::held;
    predecessor_ = lease;
  }

  void live_without_lease() {
    BlockMemory memory = this->memory();
    memory.begin_unowned(store_);
    use({.connections = 1});
    if (draw(2) == 0) memory.end_unowned(store_);
  }

  void use(const VolumeOptions& options) {
    store_.fail_one_in(draw(2) == 0 ? 0 : 10);
    Volume volume(store_, testing::plain_format("disk", kObject),
                  BlockGeometry(kLiesBlocks * kObject, kObject), options);
    if (draw(2) == 0) volume.wait_until_listed();
    const std::uint64_t requests = draw(25);
    for (std::uint64_t i = 0; i < requests; ++i) request(volume);
    store_.fail_one_in(0);
  }

  void request(Volume& volume) {
    const std::uint64_t first = draw(kLiesSectors);
    const std::uint64_t count = 1 + draw(std::min<std::uint64_t>(kLiesSectors - first, 30));
    switch (draw(6)) {
      case 0:
      case 1:
        return compare(volume, first, count);
      case 2:
        return write(volume, first, count);
      case 3:
        return zero(volume, first, count);
      case 4:
        return trim(volume, first, count);
      default:
        return look_for_holes(volume, first, count);
    }
  }

  void compare(Volume& volume, std::uint64_t first, std::uint64_t count) {
    std::vector<std::byte> data(count * kLiesSector);
    volume.pread(data, first * kLiesSector);
    for (std::uint64_t i = 0; i < data.size(); ++i) {
      if (data[i] != model_.at(first + i / kLiesSector)) {
        ++wrong_;
        return;
      }
    }
  }

  // A client that is told of a failure sends its request again.
  template <typename Request>
  static void until_done(Request&& request) {
    while (true) {
      try {
        return request();
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), EIO);
        ASSERT_STREQ(error.what(), "drawn by lot");
      }
    }
  }

  void set(std::uint64_t first, std::uint64_t count, std::byte value) {
    std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(first), count, value);
  }
  void write(Volume& volume, std::uint64_t first, std::uint64_t count) {
    const auto value = static_cast<std::byte>(1 + draw(255));
    const std::vector<std::byte> data(count * kLiesSector, value);
    until_done([&] { volume.pwrite(data, first * kLiesSector, Durability::on_flush); });
    set(first, count, value);
  }
  void zero(Volume& volume, std::uint64_t first, std::uint64_t count) {
    until_done([&] { volume.zero(count * kLiesSector, first * kLiesSector, {.may_trim = true}); });
    set(first, count, std::byte{0});
  }
  // Whole objects read as zeros afterwards: that is this plugin's promise.
  void trim(Volume& volume, std::uint64_t first, std::uint64_t count) {
    constexpr std::uint64_t kPerObject = kObject / kLiesSector;
    const std::uint64_t from = (first + kPerObject - 1) / kPerObject * kPerObject;
    const std::uint64_t to = (first + count) / kPerObject * kPerObject;
    until_done(
        [&] { volume.trim(count * kLiesSector, first * kLiesSector, Durability::on_flush); });
    if (from < to) set(from, to - from, std::byte{0});
  }
  void look_for_holes(Volume& volume, std::uint64_t first, std::uint64_t count) {
    ExtentList extents;
    volume.extents(count * kLiesSector, first * kLiesSector, false, extents);
    for (const Extent& extent : extents.all()) {
      if (extent.type != kHole) continue;
      for (std::uint64_t at = extent.range.offset; at < extent.range.end(); at += kLiesSector) {
        if (model_.at(at / kLiesSector) != std::byte{0}) ++wrong_;
      }
    }
  }

  std::mt19937_64 rng_;
  LyingLister store_;
  const bool are_believed_;
  testing::FakeProcesses processes_{"host", 1};
  std::optional<SeenLease> predecessor_;
  std::array<std::byte, kLiesSectors> model_{};
  std::size_t wrong_ = 0;
};

std::uint64_t lying_histories() {
  const char* const given = std::getenv("NBDSTACK_LISTING_HISTORIES");
  return given == nullptr ? 10'000 : std::strtoull(given, nullptr, 10);
}

TEST(LyingListerTest, NoHistoryReadsWhatWasNotWritten) {
  for (std::uint64_t seed = 0; seed < lying_histories(); ++seed) {
    ASSERT_EQ(LyingHistory(seed, false).run(), 0U) << "seed " << seed;
  }
}

TEST(LyingListerTest, HistoriesFindTheFaultsOfBelievedListings) {
  std::size_t found = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    if (LyingHistory(seed, true).run() > 0) ++found;
  }
  EXPECT_GT(found, 50U);
}

}  // namespace
}  // namespace nbdstack
