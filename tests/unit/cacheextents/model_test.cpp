// Questions and changes that begin, happen below and end in random order, on one thread: whatever
// is known at any moment must be true then.
#include <random>

#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kUnit = KnownExtents::kGranule;
constexpr std::uint64_t kUnits = 64;

class Model {
 public:
  Model(unsigned seed, std::size_t max_runs) : random_(seed), known_(max_runs) {}

  void step() {
    switch (random_() % 8) {
      case 0:
      case 1:
        begin_change();
        break;
      case 2:
      case 3:
        advance_change();
        break;
      case 4:
        ask();
        break;
      case 5:
        advance_question();
        break;
      default:
        check();
    }
  }
  void finish() {
    while (!changes_.empty()) advance_change();
    while (!questions_.empty()) advance_question();
    check();
  }
  [[nodiscard]] std::size_t answered() const { return answered_; }

 private:
  struct Changing {
    Range range;
    ExtentType type;
    std::optional<std::vector<KnownExtents::Content>> left;  // nothing: unknown
    bool fails;
    unsigned stage = 0;  // 0 sent, 1 happened
    std::unique_ptr<KnownExtents::Change> change;
  };
  struct Asked {
    KnownExtents::Query question;
    std::optional<ExtentList> reply;
  };

  Range some_range() {
    const std::uint64_t first = random_() % kUnits;
    const std::uint64_t count = 1 + random_() % std::min<std::uint64_t>(kUnits - first, 12);
    return {first * kUnit, count * kUnit};
  }

  void begin_change() {
    if (changes_.size() >= 4) return;
    static constexpr ExtentType kTypes[] = {kData, kZeros, kHole, kData, kHole};
    const std::size_t kind = random_() % std::size(kTypes);
    const Range range = some_range();
    Changing made{range, kTypes[kind], std::nullopt, random_() % 8 == 0, 0, nullptr};
    if (kind == 0) made.left.emplace();
    if (kind == 1) made.left = {{range, kZeros}};
    made.change = std::make_unique<KnownExtents::Change>(known_.change(range));
    changes_.push_back(std::move(made));
  }

  void advance_change() {
    if (changes_.empty()) return;
    const auto chosen = changes_.begin() + static_cast<std::ptrdiff_t>(random_() % changes_.size());
    if (chosen->stage++ == 0) {
      if (!chosen->fails || random_() % 2 == 0) truth_.put(chosen->range, chosen->type);
      return;
    }
    if (!chosen->fails && chosen->left) chosen->change->commit(*chosen->left);
    changes_.erase(chosen);
  }

  // As long as nobody else asks: on one thread there is nobody to wait for.
  void ask() {
    if (!questions_.empty()) return;
    auto answer = known_.look(some_range(), kUnits * kUnit, false);
    if (answer.query) questions_.push_back({std::move(*answer.query), std::nullopt});
  }

  void advance_question() {
    if (questions_.empty()) return;
    Asked& asked = questions_.front();
    if (!asked.reply) {
      asked.reply.emplace();
      const Range range = asked.question.range();
      truth_.extents(range.length, range.offset, false, *asked.reply);
      return;
    }
    asked.question.learn(asked.reply->all());
    questions_.clear();
  }

  void check() {
    if (!questions_.empty()) return;
    for (std::uint64_t unit = 0; unit < kUnits; ++unit) {
      const auto answer = known_.look({unit * kUnit, kUnit}, kUnits * kUnit, false);
      if (answer.query) continue;
      ++answered_;
      const ExtentType said = answer.extents.all().front().type;
      const ExtentType is = truth_.at(unit * kUnit);
      ASSERT_TRUE(is.zero || !said.zero) << "unit " << unit;
      ASSERT_TRUE(is.hole || !said.hole) << "unit " << unit;
    }
  }

  std::mt19937 random_;
  TrueExtents truth_{kUnits * kUnit};
  KnownExtents known_;
  std::vector<Changing> changes_;
  std::vector<Asked> questions_;
  std::size_t answered_ = 0;
};

TEST(CacheextentsModel, WhatIsKnownIsTrueWithRoomForAll) {
  for (unsigned seed = 0; seed < 15; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, 1000);
    for (unsigned step = 0; step < 2000; ++step) model.step();
    model.finish();
    EXPECT_GT(model.answered(), 1000U);
  }
}

TEST(CacheextentsModel, WhatIsKnownIsTrueWithLittleRoom) {
  for (unsigned seed = 100; seed < 115; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, 16);
    for (unsigned step = 0; step < 2000; ++step) model.step();
    model.finish();
    EXPECT_GT(model.answered(), 1000U);
  }
}

}  // namespace
}  // namespace nbdstack::testing
