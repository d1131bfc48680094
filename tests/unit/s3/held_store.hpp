// A store in memory whose ETags are the MD5 of the body, as S3's, or else say nothing of it, and
// which on demand does a change and loses the answer, or holds it until it is released. Any thread.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {

class HeldStore final : public ObjectStore {
 public:
  using Bytes = std::vector<std::byte>;

  // Of the changes that come: this many are done, or held, and their callers get no answer.
  void lose_answers(unsigned count) {
    const std::lock_guard lock(mutex_);
    lose_ = count;
  }
  void hold_changes(unsigned count) {
    const std::lock_guard lock(mutex_);
    hold_ = count;
  }
  // What is held is done now, as far as its conditions hold.
  void release_changes() {
    const std::lock_guard lock(mutex_);
    for (const auto& change : std::exchange(held_, {})) change();
  }
  // What every listing says of every object, whatever its ETag is.
  void list_as(const std::string& etag) { listed_etag_ = etag; }
  // As with a service that encrypts what it stores.
  void give_opaque_etags() { are_opaque_ = true; }
  void refuse_conditions(bool refuse) { refuse_ = refuse; }
  void on_call(std::function<void(const StoreCall&)> hook) { hook_ = std::move(hook); }

  [[nodiscard]] std::vector<StoreCall> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  [[nodiscard]] std::vector<StoreCall> calls(StoreOp op) const {
    auto result = calls();
    std::erase_if(result, [&](const StoreCall& call) { return call.op != op; });
    return result;
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }

  // Behind everybody's back.
  void place_text(const std::string& key, const std::string& text) {
    const std::lock_guard lock(mutex_);
    objects_[key] = bytes_of(text);
    ++versions_[key];
    checksums_.erase(key);
  }
  void drop(const std::string& key) {
    const std::lock_guard lock(mutex_);
    objects_.erase(key);
  }
  [[nodiscard]] std::optional<Bytes> body_of(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] std::vector<std::string> keys() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> keys;
    for (const auto& [key, body] : objects_) keys.push_back(key);
    return keys;
  }

  bool get(const std::string& key, std::span<std::byte> body) override {
    return fetch(key, body).has_value();
  }
  bool get_range(const std::string& /*key*/, std::span<std::byte> /*body*/,
                 const ObjectPart& /*part*/) override {
    return false;
  }
  std::optional<std::string> get_text(const std::string& /*key*/, std::size_t /*limit*/) override {
    return std::nullopt;
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    const std::lock_guard lock(mutex_);
    const auto body = body_of(key);
    if (!body.has_value()) return std::nullopt;
    std::copy(body->begin(), body->end(), buffer.begin());
    ObjectInfo object;
    object.size_bytes = body->size();
    object.etag = etag_of(key);
    return object;
  }
  // All objects, in order.
  void list(const std::string& prefix, const std::string& /*start_after*/,
            const std::function<bool(const ListedObject&)>& visit) override {
    const std::lock_guard lock(mutex_);
    begin({StoreOp::list, {prefix}});
    for (const auto& [key, body] : objects_) {
      const std::string etag = listed_etag_.empty() ? etag_of(key) : listed_etag_;
      if (key.starts_with(prefix) &&
          !visit({.key = key, .size_bytes = body.size(), .etag = etag})) {
        return;
      }
    }
  }

  std::optional<ObjectInfo> look_up(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    begin({StoreOp::look_up, {key}});
    if (!objects_.contains(key)) return std::nullopt;
    ObjectInfo object;
    object.size_bytes = objects_.at(key).size();
    object.etag = etag_of(key);
    if (checksums_.contains(key)) object.whole_checksum = checksums_.at(key);
    return object;
  }
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    const std::lock_guard lock(mutex_);
    begin({StoreOp::put, {key}});
    const auto apply = [this, key, copy = Bytes(body.begin(), body.end()), mode = options.mode,
                        etag = options.etag]() -> PutOutcome {
      if (mode != PutMode::replace && refuse_) return {PutResult::changed, {}};
      if (mode == PutMode::create_only && objects_.contains(key)) return {PutResult::exists, {}};
      if (mode == PutMode::if_match && etag_of(key) != etag) return {PutResult::changed, {}};
      objects_[key] = copy;
      ++versions_[key];
      checksums_[key] = to_hex(xxh3_128(copy));
      return {PutResult::stored, etag_of(key)};
    };
    Doubt unused;
    if (is_answered(options.doubt != nullptr ? *options.doubt : unused, apply)) return apply();
    throw Error(ETIMEDOUT, key + ": no answer");
  }
  void remove(std::span<const std::string> keys) override {
    const std::lock_guard lock(mutex_);
    for (const std::string& key : keys) objects_.erase(key);
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    const std::lock_guard lock(mutex_);
    StoreCall call{StoreOp::remove, {}};
    for (const Removal& each : removals) call.keys.push_back(each.key);
    begin(call);
    const auto apply = [this, meant = std::vector(removals.begin(), removals.end())] {
      std::vector<std::string> refused;
      for (const auto& [key, etag, version_id] : meant) {
        if (!etag.empty() && objects_.contains(key) && etag_of(key) != etag) {
          refused.push_back(key);
        } else {
          objects_.erase(key);
        }
      }
      return refused;
    };
    if (is_answered(doubt, apply)) return apply();
    throw Error(ETIMEDOUT, "no answer");
  }

 private:
  void begin(const StoreCall& call) {
    calls_.push_back(call);
    if (hook_) hook_(call);
  }
  [[nodiscard]] std::string etag_of(const std::string& key) const {
    const auto found = objects_.find(key);
    if (found == objects_.end()) return "";
    if (are_opaque_) return fmt::format("\"{:032x}\"", 0xabc000 + versions_.at(key));
    return '"' + to_hex(md5(found->second)) + '"';
  }
  template <typename Apply>
  bool is_answered(Doubt& doubt, const Apply& apply) {
    if (lose_ == 0 && hold_ == 0) return true;
    doubt = {.is_open = true, .was_given_up = true};
    if (lose_ > 0) {
      --lose_;
      apply();
    } else {
      --hold_;
      held_.push_back([apply] { apply(); });
    }
    return false;
  }

  mutable std::recursive_mutex mutex_;  // protects what follows; held while a hook runs
  std::map<std::string, Bytes> objects_;
  std::map<std::string, unsigned> versions_;
  std::map<std::string, std::string> checksums_;  // that were stored with them
  bool are_opaque_ = false;
  std::vector<StoreCall> calls_;
  std::function<void(const StoreCall&)> hook_;
  std::vector<std::function<void()>> held_;
  std::string listed_etag_;
  unsigned lose_ = 0;
  unsigned hold_ = 0;
  bool refuse_ = false;
};

}  // namespace nbdstack::testing
