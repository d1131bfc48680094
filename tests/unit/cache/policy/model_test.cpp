// The policies beside models that are as plain as their descriptions, under random operations.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "filters/cache/policy/make_policy.hpp"

namespace nbdstack {
namespace {

using Removal = EvictionPolicy::Removal;
using Slots = std::vector<Slot>;
using MayGo = std::function<bool(Slot)>;

class Model {
 public:
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;
  virtual void inserted(Slot slot, std::uint64_t block) = 0;
  virtual void used(Slot slot) = 0;
  virtual void removed(Slot slot, std::uint64_t block, Removal why) = 0;
  virtual Slot victim(const MayGo& may_go) = 0;
  [[nodiscard]] virtual Slots order() const = 0;
};

class LruModel : public Model {
 public:
  void inserted(Slot slot, std::uint64_t /*block*/) override { slots_.push_back(slot); }
  void used(Slot slot) override {
    std::erase(slots_, slot);
    slots_.push_back(slot);
  }
  void removed(Slot slot, std::uint64_t /*block*/, Removal /*why*/) override {
    std::erase(slots_, slot);
  }
  Slot victim(const MayGo& may_go) override {
    const auto found = std::find_if(slots_.begin(), slots_.end(), may_go);
    return found == slots_.end() ? kNoSlot : *found;
  }
  [[nodiscard]] Slots order() const override { return slots_; }

 private:
  Slots slots_;
};

// Exact while fewer than 16 blocks are cached: then every arrival begins an epoch, 16 ghosts are
// remembered, and no search reaches its limit.
class S3FifoModel : public Model {
 public:
  void inserted(Slot slot, std::uint64_t block) override {
    epoch_ = (epoch_ + 1) % 32;
    const bool is_ghost = std::erase(ghosts_, block) != 0;
    (is_ghost ? main_ : small_).push_back({slot, false, epoch_});
  }
  void used(Slot slot) override {
    const auto is_it = [&](const Item& item) { return item.slot == slot; };
    const auto in_main = std::find_if(main_.begin(), main_.end(), is_it);
    if (in_main != main_.end()) {
      if (in_main->epoch != epoch_) *in_main = {slot, true, epoch_};
    } else if (std::find_if(small_.begin(), small_.end(), is_it)->epoch != epoch_) {
      std::erase_if(small_, is_it);
      main_.push_back({slot, false, epoch_});
    }
  }
  void removed(Slot slot, std::uint64_t block, Removal why) override {
    const auto is_it = [&](const Item& item) { return item.slot == slot; };
    if (std::erase_if(small_, is_it) == 0) {
      std::erase_if(main_, is_it);
    } else if (why == Removal::evicted) {
      ghosts_.push_front(block);
      if (ghosts_.size() > 16) ghosts_.pop_back();
    }
  }
  Slot victim(const MayGo& may_go) override {
    const bool small_first = small_.size() >= (small_.size() + main_.size()) / 4;
    const Slot slot = small_first ? of_small(may_go) : of_main(may_go);
    if (slot != kNoSlot) return slot;
    return small_first ? of_main(may_go) : of_small(may_go);
  }
  [[nodiscard]] Slots order() const override {
    Slots slots;
    for (const Item& item : small_) slots.push_back(item.slot);
    for (const Item& item : main_) slots.push_back(item.slot);
    return slots;
  }

 private:
  struct Item {
    Slot slot;
    bool used;
    int epoch;
  };
  using Queue = std::vector<Item>;  // oldest first

  [[nodiscard]] Slot of_small(const MayGo& may_go) const {
    for (const Item& item : small_) {
      if (may_go(item.slot)) return item.slot;
    }
    return kNoSlot;
  }

  Slot of_main(const MayGo& may_go) {
    while (!main_.empty() && main_.front().used) {
      main_.front().used = false;
      std::rotate(main_.begin(), main_.begin() + 1, main_.end());
    }
    for (const bool even_used : {false, true}) {
      for (const Item& item : main_) {
        if ((even_used || !item.used) && may_go(item.slot)) return item.slot;
      }
    }
    return kNoSlot;
  }

  Queue small_;
  Queue main_;
  std::deque<std::uint64_t> ghosts_;
  int epoch_ = 0;
};

class ProtectedModel : public Model {
 public:
  ProtectedModel(std::uint64_t border, std::unique_ptr<Model> low, std::unique_ptr<Model> high)
      : border_(border), low_(std::move(low)), high_(std::move(high)) {}

  void inserted(Slot slot, std::uint64_t block) override {
    if (block < border_) low_slots_.insert(slot);
    part(slot).inserted(slot, block);
  }
  void used(Slot slot) override { part(slot).used(slot); }
  void removed(Slot slot, std::uint64_t block, Removal why) override {
    part(slot).removed(slot, block, why);
    low_slots_.erase(slot);
  }
  Slot victim(const MayGo& may_go) override {
    const Slot slot = high_->victim(may_go);
    return slot != kNoSlot ? slot : low_->victim(may_go);
  }
  [[nodiscard]] Slots order() const override {
    Slots slots = high_->order();
    const Slots last = low_->order();
    slots.insert(slots.end(), last.begin(), last.end());
    return slots;
  }

 private:
  Model& part(Slot slot) { return low_slots_.contains(slot) ? *low_ : *high_; }

  std::uint64_t border_;
  std::unique_ptr<Model> low_;
  std::unique_ptr<Model> high_;
  std::set<Slot> low_slots_;
};

std::unique_ptr<Model> make_model(CachePolicy kind, std::uint64_t protect_blocks) {
  const auto part = [&]() -> std::unique_ptr<Model> {
    switch (kind) {
      case CachePolicy::lru:
        return std::make_unique<LruModel>();
      case CachePolicy::s3fifo:
        return std::make_unique<S3FifoModel>();
    }
    return nullptr;
  };
  if (protect_blocks == 0) return part();
  return std::make_unique<ProtectedModel>(protect_blocks, part(), part());
}

// Both sides of the comparison, and a random driver for them.
class Comparison {
 public:
  Comparison(CachePolicy kind, std::uint64_t protect_blocks, unsigned seed)
      : policy_(make_eviction_policy(kind, protect_blocks)),
        model_(make_model(kind, protect_blocks)),
        random_(seed) {}

  void step() {
    const std::uint64_t what = below(20);
    if (what < 8) {
      insert();
    } else if (what < 16) {
      use();
    } else if (what < 19) {
      evict();
    } else {
      remove(below(kSlots), Removal::dropped);
    }
    Slots shown;
    policy_->in_eviction_order([&](Slot slot) {
      shown.push_back(slot);
      return true;
    });
    ASSERT_EQ(shown, model_->order());
    ASSERT_EQ(policy_->size(), shown.size());
  }

 private:
  static constexpr Slot kSlots = 15;
  static constexpr std::uint64_t kBlocks = 40;

  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  void insert() {
    const std::uint64_t block = below(kBlocks);
    if (std::find(block_of_.begin(), block_of_.end(), block) != block_of_.end()) return;
    const auto free = std::find(block_of_.begin(), block_of_.end(), std::nullopt);
    if (free == block_of_.end()) return evict();
    *free = block;
    const auto slot = static_cast<Slot>(free - block_of_.begin());
    policy_->inserted(slot, {block});
    model_->inserted(slot, block);
  }

  void use() {
    const Slot slot = static_cast<Slot>(below(kSlots));
    if (!block_of_[slot]) return;
    policy_->used(slot);
    model_->used(slot);
  }

  void evict() {
    const std::uint64_t reluctance = below(4);
    std::set<Slot> fixed;
    for (Slot slot = 0; slot < kSlots; ++slot) {
      if (below(4) < reluctance) fixed.insert(slot);
    }
    const auto may_go = [&](Slot slot) { return !fixed.contains(slot); };
    const Slot victim = policy_->victim(may_go);
    ASSERT_EQ(victim, model_->victim(may_go));
    if (victim != kNoSlot) remove(victim, Removal::evicted);
  }

  void remove(std::uint64_t slot, Removal why) {
    const std::optional<std::uint64_t> block = std::exchange(block_of_[slot], std::nullopt);
    if (!block) return;
    policy_->removed(static_cast<Slot>(slot), {*block}, why);
    model_->removed(static_cast<Slot>(slot), *block, why);
  }

  std::unique_ptr<EvictionPolicy> policy_;
  std::unique_ptr<Model> model_;
  std::mt19937 random_;
  std::vector<std::optional<std::uint64_t>> block_of_ =
      std::vector<std::optional<std::uint64_t>>(kSlots);
};

class RandomOperations : public ::testing::TestWithParam<CachePolicy> {};

INSTANTIATE_TEST_SUITE_P(Policies, RandomOperations, ::testing::ValuesIn(kCachePolicies));

TEST_P(RandomOperations, LeaveThePolicyAsTheModel) {
  for (const std::uint64_t protect_blocks : {0, 20}) {
    for (unsigned seed = 1; seed <= 50; ++seed) {
      Comparison comparison(GetParam(), protect_blocks, seed);
      for (int step = 0; step < 2000; ++step) {
        comparison.step();
        ASSERT_FALSE(::testing::Test::HasFatalFailure())
            << "protected " << protect_blocks << ", seed " << seed << ", step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace nbdstack
