// A store in memory for the volume's tests: it logs every call, a hook decides what happens before
// a call takes effect (nothing, throw, wait at a Gate, change the store behind the volume's back),
// and it notices what no caller may do: two writes of one key at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/fakes/bytes_of.hpp"

namespace nbdstack::testing {

// A listing is a request for each page of 1,000 keys, as S3's are: `list` for the first one,
// `next_page` for each that follows.
enum class StoreOp : std::uint8_t {
  get,
  get_range,
  get_text,
  fetch,
  look_up,
  put,
  remove,
  list,
  next_page
};

struct StoreCall {
  StoreOp op;
  std::vector<std::string> keys;  // of a page of a listing: the prefix

  friend bool operator==(const StoreCall&, const StoreCall&) = default;
};

class MemoryStore final : public ObjectStore {
 public:
  using Hook = std::function<void(const StoreCall&)>;

  // Called before each call takes effect, without a lock, on the caller's thread.
  void on_call(Hook hook) {
    const std::lock_guard lock(mutex_);
    hook_ = std::move(hook);
  }

  // Called when a page of a listing has been made, before it is handed on.
  void on_page_made(std::function<void()> hook) {
    const std::lock_guard lock(mutex_);
    page_hook_ = std::move(hook);
  }

  [[nodiscard]] std::vector<StoreCall> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  [[nodiscard]] std::vector<StoreCall> calls(StoreOp op) const {
    auto result = calls();
    std::erase_if(result, [&](const StoreCall& call) { return call.op != op; });
    return result;
  }
  [[nodiscard]] std::size_t list_requests() const {
    return calls(StoreOp::list).size() + calls(StoreOp::next_page).size();
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }
  [[nodiscard]] bool saw_overlapping_writes() const {
    const std::lock_guard lock(mutex_);
    return overlapping_writes_;
  }
  [[nodiscard]] std::size_t most_calls_at_once() const {
    const std::lock_guard lock(mutex_);
    return most_at_once_;
  }

  // How old every object is said to be.
  void set_age(std::optional<std::chrono::seconds> age) {
    const std::lock_guard lock(mutex_);
    age_ = age;
  }

  // As a directory's; else as those of a service that nobody vouches for.
  void set_lists_are_proof(bool are_proof) {
    const std::lock_guard lock(mutex_);
    lists_are_proof_ = are_proof;
  }
  [[nodiscard]] bool lists_are_proof() const override {
    const std::lock_guard lock(mutex_);
    return lists_are_proof_;
  }

  // Listings show those keys only.
  void filter_listings(std::function<bool(const std::string& key)> shows) {
    const std::lock_guard lock(mutex_);
    listing_filter_ = std::move(shows);
  }

  // Behind the volume's back: not logged, no hook.
  void place(const std::string& key, std::vector<std::byte> body,
             ObjectAttributes attributes = {}) {
    const std::lock_guard lock(mutex_);
    objects_[key] = std::move(body);
    attributes_[key] = std::move(attributes);
    versions_[key] = ++last_version_;
    checksums_.erase(key);
    whole_checksums_.erase(key);
  }
  // What the object is said to carry until it is put again. One that is put carries all.
  void set_checksum(const std::string& key, ChecksumKind checksum) {
    const std::lock_guard lock(mutex_);
    checksums_[key] = checksum;
  }
  void place_text(const std::string& key, const std::string& text) { place(key, bytes_of(text)); }
  void drop(const std::string& key) {
    const std::lock_guard lock(mutex_);
    objects_.erase(key);
  }
  [[nodiscard]] std::optional<std::vector<std::byte>> body_of(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] std::optional<ObjectAttributes> attributes_of(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    return objects_.contains(key) ? std::optional(info_of(key).attributes) : std::nullopt;
  }
  [[nodiscard]] std::vector<std::string> keys() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> keys;
    for (const auto& [key, body] : objects_) keys.push_back(key);
    return keys;
  }

  [[nodiscard]] std::string etag_of(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    return info_of(key).etag;
  }

  bool get(const std::string& key, std::span<std::byte> body) override {
    const CallScope scope(*this, {StoreOp::get, {key}});
    const auto object = body_of(key);
    if (!object.has_value()) return false;
    if (object->size() != body.size()) {
      throw Error(EIO, fmt::format("{}: {} bytes, {} expected", key, object->size(), body.size()));
    }
    std::copy(object->begin(), object->end(), body.begin());
    return true;
  }
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override {
    const CallScope scope(*this, {StoreOp::get_range, {key}});
    const auto object = body_of(key);
    if (!object.has_value()) return false;
    if (object->size() != part.object_bytes) throw Error(EIO, key + ": of another length");
    if (!part.etag.empty() && etag_of(key) != part.etag) throw Error(EIO, key + ": was replaced");
    std::memcpy(body.data(), object->data() + part.offset, body.size());
    return true;
  }
  std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) override {
    const CallScope scope(*this, {StoreOp::get_text, {key}});
    const auto object = body_of(key);
    if (!object.has_value()) return std::nullopt;
    if (object->size() > size_limit) throw Error(EIO, key + ": too long");
    return std::string(reinterpret_cast<const char*>(object->data()), object->size());
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    const CallScope scope(*this, {StoreOp::fetch, {key}});
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return std::nullopt;
    if (found->second.size() > buffer.size()) throw Error(EIO, key + ": too long");
    std::copy(found->second.begin(), found->second.end(), buffer.begin());
    return info_of(key);
  }
  std::optional<ObjectInfo> look_up(const std::string& key) override {
    const CallScope scope(*this, {StoreOp::look_up, {key}});
    const std::lock_guard lock(mutex_);
    return objects_.contains(key) ? std::optional(info_of(key)) : std::nullopt;
  }
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    const CallScope scope(*this, {StoreOp::put, {key}});
    const std::lock_guard lock(mutex_);
    const bool exists = objects_.contains(key);
    if (options.mode == PutMode::create_only && exists) return {PutResult::exists, {}};
    if (options.mode == PutMode::if_match && !(exists && info_of(key).etag == options.etag)) {
      return {PutResult::changed, {}};
    }
    objects_[key] = {body.begin(), body.end()};
    attributes_[key] = options.attributes;
    versions_[key] = ++last_version_;
    checksums_.erase(key);
    whole_checksums_[key] = options.with_checksum ? to_hex(xxh3_128(body)) : std::string();
    return {PutResult::stored, info_of(key).etag};
  }
  void remove(std::span<const std::string> keys) override {
    const CallScope scope(*this, {StoreOp::remove, {keys.begin(), keys.end()}});
    for (const std::string& key : keys) drop(key);
  }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& /*doubt*/) override {
    StoreCall call{StoreOp::remove, {}};
    for (const Removal& each : removals) call.keys.push_back(each.key);
    const CallScope scope(*this, call);
    const std::lock_guard lock(mutex_);
    std::vector<std::string> refused;
    for (const auto& [key, etag, version_id] : removals) {
      if (!etag.empty() && objects_.contains(key) && info_of(key).etag != etag) {
        refused.push_back(key);
      } else {
        objects_.erase(key);
      }
    }
    return refused;
  }
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    StoreOp op = StoreOp::list;
    std::string after = start_after;
    while (true) {
      const Page page = list_page(op, prefix, after);
      for (const ListedObject& object : page.objects) {
        if (!visit(object)) return;
      }
      if (!page.has_next) return;
      op = StoreOp::next_page;
      after = page.objects.back().key;
    }
  }

 private:
  static constexpr std::size_t kPage = 1000;

  struct Page {
    std::vector<ListedObject> objects;
    bool has_next = false;
  };

  // As it is at one moment.
  Page list_page(StoreOp op, const std::string& prefix, const std::string& after) {
    const CallScope scope(*this, {op, {prefix}});
    const Page page = page_after(prefix, after);
    if (const auto hook = page_hook()) hook();
    return page;
  }
  [[nodiscard]] std::function<void()> page_hook() const {
    const std::lock_guard lock(mutex_);
    return page_hook_;
  }
  [[nodiscard]] Page page_after(const std::string& prefix, const std::string& after) const {
    const std::lock_guard lock(mutex_);
    Page page;
    auto at = after < prefix ? objects_.lower_bound(prefix) : objects_.upper_bound(after);
    for (; at != objects_.end() && at->first.starts_with(prefix); ++at) {
      if (listing_filter_ && !listing_filter_(at->first)) continue;
      if (page.objects.size() == kPage) {
        page.has_next = true;
        break;
      }
      page.objects.push_back(
          {.key = at->first, .size_bytes = at->second.size(), .etag = info_of(at->first).etag});
    }
    return page;
  }

  // One call under way, from its arrival (the hook runs within) to its return.
  class CallScope {
   public:
    CallScope(MemoryStore& store, StoreCall call) : store_(store), call_(std::move(call)) {
      const Hook hook = store_.begin(call_);
      try {
        if (hook) hook(call_);
        std::this_thread::yield();  // lets writers that should not be there run into each other
      } catch (...) {
        store_.end(call_);
        throw;
      }
    }
    CallScope(const CallScope&) = delete;
    CallScope& operator=(const CallScope&) = delete;
    ~CallScope() { store_.end(call_); }

   private:
    MemoryStore& store_;
    const StoreCall call_;
  };

  [[nodiscard]] ObjectInfo info_of(const std::string& key) const {
    const auto attributes = attributes_.find(key);
    return {.size_bytes = objects_.at(key).size(),
            .etag = fmt::format("\"{}\"", versions_.at(key)),
            .age = age_,
            .attributes = attributes == attributes_.end() ? ObjectAttributes() : attributes->second,
            .checksum = checksums_.contains(key) ? checksums_.at(key) : ChecksumKind::pieces,
            .whole_checksum =
                whole_checksums_.contains(key) ? whole_checksums_.at(key) : std::string()};
  }

  static bool is_write(StoreOp op) { return op == StoreOp::put || op == StoreOp::remove; }

  Hook begin(const StoreCall& call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(call);
    most_at_once_ = std::max(most_at_once_, ++at_once_);
    if (is_write(call.op)) {
      for (const std::string& key : call.keys) {
        if (!being_written_.insert(key).second) overlapping_writes_ = true;
      }
    }
    return hook_;
  }
  void end(const StoreCall& call) {
    const std::lock_guard lock(mutex_);
    --at_once_;
    if (!is_write(call.op)) return;
    for (const std::string& key : call.keys) being_written_.erase(key);
  }

  mutable std::mutex mutex_;  // protects everything below
  std::map<std::string, std::vector<std::byte>> objects_;
  std::map<std::string, ObjectAttributes> attributes_;
  std::map<std::string, ChecksumKind> checksums_;       // where they are not all
  std::map<std::string, std::string> whole_checksums_;  // of those that were put with one
  std::map<std::string, unsigned> versions_;            // of the last put of each key
  unsigned last_version_ = 0;
  std::optional<std::chrono::seconds> age_;
  bool lists_are_proof_ = false;
  std::function<bool(const std::string& key)> listing_filter_;
  std::vector<StoreCall> calls_;
  std::set<std::string> being_written_;
  bool overlapping_writes_ = false;
  std::size_t at_once_ = 0;
  std::size_t most_at_once_ = 0;
  Hook hook_;
  std::function<void()> page_hook_;
};

}  // namespace nbdstack::testing
