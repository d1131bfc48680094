// A store whose objects are as they should be and whose listings are not: they show the state of an
// earlier moment, leave keys out, or write them otherwise. What a listing shows is drawn by seed.
//
// Changes may fail before or after they have been made, as by an answer that got lost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/s3/store_over_memory.hpp"

namespace nbdstack::testing {

class LyingLister final : public StoreOverMemory {
 public:
  explicit LyingLister(std::uint64_t seed) : rng_(seed) {}

  void set_lists_are_proof(bool are_proof) { are_proof_ = are_proof; }
  // One change in so many fails; 0: none.
  void fail_one_in(unsigned count) { fail_one_in_ = count; }

  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    fail_perhaps();
    PutOutcome outcome = truth().put(key, body, options);
    note_moment();
    fail_perhaps();
    return outcome;
  }
  void remove(std::span<const std::string> keys) override {
    fail_perhaps();
    truth().remove(keys);
    note_moment();
    fail_perhaps();
  }

  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    fail_perhaps();
    auto refused = truth().remove_matching(removals, doubt);
    note_moment();
    fail_perhaps();
    return refused;
  }

  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    for (const std::string& key : shown()) {
      if (!key.starts_with(prefix) || key <= start_after) continue;
      if (!visit({.key = key, .size_bytes = 4096})) return;
    }
  }
  [[nodiscard]] bool lists_are_proof() const override { return are_proof_; }

 private:
  using Keys = std::vector<std::string>;

  void fail_perhaps() {
    const std::lock_guard lock(mutex_);
    if (fail_one_in_ != 0 && rng_() % fail_one_in_ == 0) throw Error(EIO, "drawn by lot");
  }
  void note_moment() {
    Keys keys = truth().keys();
    const std::lock_guard lock(mutex_);
    moments_.push_back(std::move(keys));
  }

  Keys shown() {
    Keys keys = truth().keys();
    const std::lock_guard lock(mutex_);
    switch (rng_() % 5) {
      case 0:
        break;
      case 1:
        keys = moments_.empty() ? Keys() : moments_[rng_() % moments_.size()];
        break;
      case 2:
        std::erase_if(keys, [&](const std::string& /*key*/) { return rng_() % 4 == 0; });
        break;
      case 3:
        for (std::string& key : keys) std::replace(key.begin(), key.end(), '0', 'O');
        break;
      default:
        keys.clear();
    }
    return keys;
  }

  bool are_proof_ = false;
  unsigned fail_one_in_ = 0;
  std::mutex mutex_;  // protects what follows
  std::mt19937_64 rng_;
  std::vector<Keys> moments_;
};

}  // namespace nbdstack::testing
