// A store whose changes may be done now, late, twice or never, and whose answers may be lost, by
// seed: what HttpStore and the service behind it are together. A change that is given up is done
// within `bound` or never, and within the guard's bound for ended ones where the service ended it;
// one that may only create an object, as long as the service takes its signature for valid.
//
// One thread.
#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack::testing {

class LateStore final : public ObjectStore {
 public:
  using Bytes = std::vector<std::byte>;

  struct Manners {
    bool keeps_conditions_of_puts = true;
    bool keeps_conditions_of_removals = true;
    std::chrono::milliseconds bound{60'000};
    double share_unanswered = 0.35;  // of all changes
  };

  LateStore(FakeClock& clock, const Manners& manners, std::uint64_t seed)
      : clock_(clock), manners_(manners), random_(seed) {}

  // Everything that is late and whose time has come is done now.
  void deliver_due() {
    std::stable_sort(late_.begin(), late_.end(),
                     [](const Late& a, const Late& b) { return a.due < b.due; });
    while (!late_.empty() && late_.front().due <= clock_.now()) {
      const Change change = late_.front().change;
      late_.erase(late_.begin());
      if (apply(change)) ++late_done_;
    }
  }
  [[nodiscard]] std::size_t late_done() const { return late_done_; }

  // Nothing where there is no object.
  [[nodiscard]] std::optional<Bytes> content(const std::string& key) {
    deliver_due();
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt : std::optional(found->second);
  }

  bool get(const std::string& key, std::span<std::byte> body) override {
    return fetch(key, body).has_value();
  }
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override {
    const auto found = content(key);
    if (!found.has_value()) return false;
    std::copy_n(found->begin() + static_cast<std::ptrdiff_t>(part.offset), body.size(),
                body.begin());
    return true;
  }
  std::optional<std::string> get_text(const std::string& /*key*/, std::size_t /*limit*/) override {
    return std::nullopt;
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    const auto found = content(key);
    if (!found.has_value()) return std::nullopt;
    std::copy(found->begin(), found->end(), buffer.begin());
    return look_up(key);
  }
  std::optional<ObjectInfo> look_up(const std::string& key) override {
    const auto found = content(key);
    if (!found.has_value()) return std::nullopt;
    ObjectInfo object;
    object.size_bytes = found->size();
    object.etag = etag_of(*found);
    return object;
  }

  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    Change change{.key = key, .body = Bytes(body.begin(), body.end())};
    if (manners_.keeps_conditions_of_puts) {
      change.creates_only = options.mode == PutMode::create_only;
      if (options.mode == PutMode::if_match) change.etag = options.etag;
    }
    Doubt unused;
    bool in_doubt = false;
    const bool done = send(change, options.doubt != nullptr ? *options.doubt : unused, in_doubt);
    if (done || (in_doubt && content(key) == change.body)) {
      return {PutResult::stored, etag_of(*change.body)};
    }
    return {change.creates_only ? PutResult::exists : PutResult::changed, {}};
  }
  void remove(std::span<const std::string> keys) override {
    for (const std::string& key : keys) objects_.erase(key);
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    std::vector<std::string> refused;
    for (const Removal& each : removals) {
      Change change{.key = each.key};
      if (manners_.keeps_conditions_of_removals) change.etag = each.etag;
      bool in_doubt = false;
      if (!send(change, doubt, in_doubt) && content(each.key).has_value()) {
        refused.push_back(each.key);
      }
    }
    return refused;
  }
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    deliver_due();
    for (const auto& [key, body] : std::map(objects_)) {
      if (!key.starts_with(prefix) || key <= start_after) continue;
      if (!visit({.key = key, .size_bytes = body.size(), .etag = etag_of(body)})) return;
    }
  }

 private:
  static constexpr int kAttempts = 3;

  struct Change {
    std::string key;
    std::optional<Bytes> body{};  // none: a removal
    bool creates_only = false;
    std::string etag{};  // empty: over whatever is there
  };
  struct Late {
    TimePoint due;
    Change change;
  };

  static std::string etag_of(const Bytes& body) { return '"' + to_hex(md5(body)) + '"'; }

  // Returns whether the condition held.
  bool apply(const Change& change) {
    const auto found = objects_.find(change.key);
    if (change.creates_only && found != objects_.end()) return false;
    if (!change.etag.empty() &&
        (found == objects_.end() || etag_of(found->second) != change.etag)) {
      return false;
    }
    if (change.body.has_value()) {
      objects_[change.key] = *change.body;
    } else {
      objects_.erase(change.key);
    }
    return true;
  }

  bool send(const Change& change, Doubt& doubt, bool& in_doubt) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      deliver_due();
      if (!chance(manners_.share_unanswered)) return apply(change);
      in_doubt = true;
      doubt.is_open = true;
      const bool given_up = chance(0.5);
      if (given_up) doubt.was_given_up = true;
      if (chance(0.4)) apply(change);
      if (chance(0.6)) {
        late_.push_back({clock_.now() + part_of(longest_for(change, given_up)), change});
      }
      clock_.advance(part_of(std::chrono::seconds(2)));
    }
    throw Error(ETIMEDOUT, change.key + ": no answer");
  }

  [[nodiscard]] Duration longest_for(const Change& change, bool given_up) const {
    if (change.creates_only) return OpenChanges::kRemembered;
    return given_up ? Duration(manners_.bound)
                    : std::min<Duration>(manners_.bound, ChangeGuard::kEndedBound);
  }
  bool chance(double share) { return std::bernoulli_distribution(share)(random_); }
  Duration part_of(Duration whole) {
    return Duration(std::uniform_int_distribution<Duration::rep>(0, whole.count())(random_));
  }

  FakeClock& clock_;
  const Manners manners_;
  std::mt19937_64 random_;
  std::map<std::string, Bytes> objects_;
  std::vector<Late> late_;
  std::size_t late_done_ = 0;
};

}  // namespace nbdstack::testing
