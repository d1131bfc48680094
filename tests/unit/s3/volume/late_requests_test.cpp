// Histories by seed in which every change may be done now, late, twice or never: what was
// acknowledged stays, and of two writers neither overwrites what it has not seen. The controls show
// that a history finds the fault when what keeps it off is taken away.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <set>

#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/s3/late_store.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::FakeClock;
using testing::LateStore;
using testing::LogOfErrors;
using testing::plain_format;
using Bytes = LateStore::Bytes;

constexpr std::uint32_t kLateBlock = 64;
constexpr std::uint64_t kLateBlocks = 3;

struct Scene {
  LateStore::Manners manners{};
  ConditionalPuts conditions{.support = ConditionSupport::with_quotes, .etags_are_md5 = true};
  std::chrono::milliseconds bound{60'000};  // that the volume waits
  unsigned writers = 1;
  bool repeats_contents = true;
  bool removes = true;
  bool reads = false;  // which is what ends a writer's being refused
};

class History {
 public:
  History(const Scene& scene, std::uint64_t seed)
      : scene_(scene), random_(seed), store_(clock_, scene.manners, seed) {
    for (unsigned i = 0; i < scene.writers; ++i) {
      volumes_.push_back(std::make_unique<Volume>(
          store_, plain_format("", kLateBlock), BlockGeometry(kLateBlocks * kLateBlock, kLateBlock),
          VolumeOptions{
              .connections = 1,
              .guard = {.conditions = scene.conditions, .bound = scene.bound, .clock = &clock_}}));
      known_.emplace_back();
      told_.emplace_back();
    }
    for (auto& possible : possible_) possible = {Bytes(kLateBlock)};
  }

  // How many times something was not as it must be.
  unsigned run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const std::size_t writer = below(scene_.writers);
      const std::size_t block = below(kLateBlocks);
      if (scene_.reads && below(3) == 0) {
        read(writer, block);
      } else {
        change(writer, block);
      }
      check();
      clock_.advance(std::chrono::milliseconds(below(3) == 0 ? below(20'000) : below(100)));
      check();
    }
    clock_.advance(std::chrono::minutes(20));
    check();
    return violations_;
  }
  [[nodiscard]] std::size_t late_done() const { return store_.late_done(); }
  [[nodiscard]] unsigned accepted() const { return accepted_; }
  [[nodiscard]] unsigned acknowledged() const { return acknowledged_; }

 private:
  struct Request {
    enum class Kind : std::uint8_t { whole, part, zero, trim } kind;
    std::byte value;
  };

  std::size_t below(std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_);
  }
  std::byte content() {
    return static_cast<std::byte>(scene_.repeats_contents ? 1 + below(2) : ++last_content_);
  }
  Bytes stored(std::uint64_t block) {
    return store_.content(ObjectNames("").block({block})).value_or(Bytes(kLateBlock));
  }

  static Bytes after(Bytes content, const Request& request) {
    const bool is_part = request.kind == Request::Kind::part;
    std::fill(content.begin(), content.begin() + (is_part ? kLateBlock / 2 : kLateBlock),
              request.value);
    return content;
  }

  void send(Volume& volume, std::uint64_t block, const Request& request) {
    const std::uint64_t offset = block * kLateBlock;
    if (request.kind == Request::Kind::trim) {
      volume.trim(kLateBlock, offset, Durability::on_flush);
    } else if (request.kind == Request::Kind::zero) {
      volume.zero(kLateBlock, offset, {});
    } else {
      const Bytes data(request.kind == Request::Kind::part ? kLateBlock / 2 : kLateBlock,
                       request.value);
      volume.pwrite(data, offset, Durability::on_flush);
    }
  }

  void change(std::size_t writer, std::uint64_t block) {
    Request request{static_cast<Request::Kind>(below(scene_.removes ? 4 : 2)), {}};
    const bool removes = request.kind >= Request::Kind::zero;
    if (!removes) request.value = content();
    std::set<Bytes> results;
    for (const Bytes& each : possible_.at(block)) results.insert(after(each, request));
    // What the writer has acknowledged, another has replaced since.
    auto& known = known_.at(writer).at(block);
    const bool is_outdated = known.has_value() && *known != stored(block);
    try {
      send(*volumes_.at(writer), block, request);
    } catch (const Error&) {
      if (is_outdated) {
        told_.at(writer).at(block) = true;
        return;
      }
      possible_.at(block).merge(results);
      known.reset();
      return;
    }
    ++acknowledged_;
    if (is_outdated) ++violations_;
    const Bytes now = stored(block);
    if (!results.contains(now)) ++violations_;
    possible_.at(block) = {now};
    known = now;
  }

  // Who has been told that somebody else has changed the block, and reads it, may go on from there.
  void read(std::size_t writer, std::uint64_t block) {
    Bytes data(kLateBlock);
    volumes_.at(writer)->pread(data, block * kLateBlock);
    if (data != stored(block)) ++violations_;
    if (std::exchange(told_.at(writer).at(block), false)) {
      known_.at(writer).at(block) = data;
      ++accepted_;
    }
  }

  void check() {
    for (std::uint64_t block = 0; block < kLateBlocks; ++block) {
      const Bytes now = stored(block);
      if (possible_.at(block).contains(now)) continue;
      ++violations_;
      possible_.at(block) = {now};
    }
  }

  const Scene scene_;
  FakeClock clock_;
  std::mt19937_64 random_;
  LateStore store_;
  std::vector<std::unique_ptr<Volume>> volumes_;
  std::array<std::set<Bytes>, kLateBlocks> possible_;
  std::vector<std::array<std::optional<Bytes>, kLateBlocks>> known_;
  std::vector<std::array<bool, kLateBlocks>> told_;
  unsigned accepted_ = 0;
  unsigned acknowledged_ = 0;
  unsigned violations_ = 0;
  unsigned last_content_ = 0;
};

struct Sum {
  std::uint64_t first_bad_seed = 0;
  unsigned violations = 0;
  std::size_t late = 0;
  std::size_t accepted = 0;
  std::size_t acknowledged = 0;
};

Sum run_histories(const Scene& scene, std::uint64_t count) {
  const LogOfErrors log;
  Sum sum;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    History history(scene, seed);
    const unsigned violations = history.run(20);
    if (violations > 0 && sum.violations == 0) sum.first_bad_seed = seed;
    sum.violations += violations;
    sum.late += history.late_done();
    sum.accepted += history.accepted();
    sum.acknowledged += history.acknowledged();
  }
  return sum;
}

void expect_all_is_well(const Scene& scene) {
  constexpr std::uint64_t kHistories = 3000;
  const Sum sum = run_histories(scene, kHistories);
  EXPECT_EQ(sum.violations, 0U) << "first with seed " << sum.first_bad_seed;
  EXPECT_GT(sum.acknowledged, 5 * kHistories);
}

Scene puts_only() {
  Scene scene;
  scene.manners.keeps_conditions_of_removals = false;
  return scene;
}
Scene no_conditions() {
  Scene scene;
  scene.manners.keeps_conditions_of_puts = false;
  scene.manners.keeps_conditions_of_removals = false;
  scene.conditions = {};
  return scene;
}
// An object that is removed and one that was never there are the same to a late request of the
// other writer, which nobody can tell from the right one.
Scene two_writers() {
  Scene scene;
  scene.writers = 2;
  scene.repeats_contents = scene.removes = false;
  return scene;
}

TEST(LateRequests, DoNothingWhereConditionsAreKept) {
  expect_all_is_well({});
}
TEST(LateRequests, DoNothingWhereConditionsOfPutsAreKept) {
  expect_all_is_well(puts_only());
}
TEST(LateRequests, DoNothingWhereItIsKnownBeforehandWhichConditionsAreKept) {
  Scene all;
  all.conditions.of_removals = RemovalState::kept;
  expect_all_is_well(all);
  Scene of_puts = puts_only();
  of_puts.conditions.of_removals = RemovalState::not_kept;
  expect_all_is_well(of_puts);
}
TEST(LateRequests, DoNothingWithinTheBoundWhereNoConditionsAreKept) {
  expect_all_is_well(no_conditions());
}
TEST(LateRequests, OfTwoWritersNeitherOverwritesWhatItHasNotSeen) {
  expect_all_is_well(two_writers());
}

TEST(LateRequests, OfTwoWritersEachGoesOnFromWhatItHasReadSinceItWasRefused) {
  Scene scene = two_writers();
  const std::size_t before = run_histories(scene, 1000).acknowledged;
  scene.reads = true;
  const Sum sum = run_histories(scene, 3000);
  EXPECT_EQ(sum.violations, 0U) << "first with seed " << sum.first_bad_seed;
  EXPECT_GT(sum.accepted, 1000U);
  EXPECT_GT(sum.acknowledged, 3 * before * 2 / 3) << "a third of the requests are reads";
}

TEST(LateRequestsControl, WithoutConditionsAndWaitsChangesAreUndone) {
  Scene scene = no_conditions();
  scene.bound = {};
  EXPECT_GT(run_histories(scene, 200).violations, 50U);
}
TEST(LateRequestsControl, WithoutWaitsAnObjectThatIsAsBeforeIsChangedLate) {
  Scene scene;
  scene.bound = {};
  EXPECT_GT(run_histories(scene, 1000).violations, 5U);
}
TEST(LateRequestsControl, WithoutWaitsALateRemovalUndoesAPut) {
  Scene scene = puts_only();
  scene.bound = {};
  EXPECT_GT(run_histories(scene, 200).violations, 20U);
}
TEST(LateRequestsControl, RelyingOnConditionsOfRemovalsThatAreNotKeptLosesWrites) {
  Scene scene = puts_only();
  scene.conditions.of_removals = RemovalState::kept;
  EXPECT_GT(run_histories(scene, 200).violations, 20U);
}
TEST(LateRequestsControl, WithoutConditionsTwoWritersOverwriteEachOther) {
  Scene scene = two_writers();
  scene.conditions = {};
  EXPECT_GT(run_histories(scene, 200).violations, 50U);
}

}  // namespace
}  // namespace nbdstack
