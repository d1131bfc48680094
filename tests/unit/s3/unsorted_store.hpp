// A store in memory whose listings have an order of their own, as those of S3 Express: that of the
// keys written backwards. Nobody knows so before a listing has shown it.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/object_store.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {

class UnsortedStore final : public ObjectStore {
 public:
  // What is in it.
  [[nodiscard]] MemoryStore& truth() { return truth_; }

  // Listings of everything.
  [[nodiscard]] unsigned listings() const { return listings_; }

  // Listings before the first that shows the order pretend to be in order.
  void seem_sorted_for(unsigned listings) { sorted_listings_ = listings; }

  bool get(const std::string& key, std::span<std::byte> body) override {
    return truth_.get(key, body);
  }
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override {
    return truth_.get_range(key, body, part);
  }
  std::optional<std::string> get_text(const std::string& key, std::size_t limit) override {
    return truth_.get_text(key, limit);
  }
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override {
    return truth_.fetch(key, buffer);
  }
  std::optional<ObjectInfo> look_up(const std::string& key) override { return truth_.look_up(key); }
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override {
    return truth_.put(key, body, options);
  }
  void remove(std::span<const std::string> keys) override { truth_.remove(keys); }
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override {
    return truth_.remove_matching(removals, doubt);
  }

  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    if (list_in_order(prefix, start_after, visit)) return;
    ++listings_;
    truth_.list(prefix, start_after, visit);
  }
  bool list_in_order(const std::string& prefix, const std::string& start_after,
                     const std::function<bool(const ListedObject&)>& visit) override {
    if (sorted_listings_ == 0) is_known_ = true;
    if (is_known_) return false;
    --sorted_listings_;
    truth_.list(prefix, start_after, visit);
    return true;
  }
  void list_in_any_order(const std::string& prefix,
                         const std::function<bool(const ListedObject&)>& visit) override {
    is_known_ = true;
    ++listings_;
    std::vector<ListedObject> objects;
    truth_.list(prefix, "", [&](const ListedObject& object) {
      objects.push_back(object);
      return true;
    });
    std::ranges::sort(objects, {}, [](const ListedObject& object) {
      return std::string(object.key.rbegin(), object.key.rend());
    });
    for (const ListedObject& object : objects) {
      if (!visit(object)) return;
    }
  }
  [[nodiscard]] bool lists_in_order() const override { return !is_known_; }
  [[nodiscard]] bool lists_are_proof() const override { return truth_.lists_are_proof(); }

 private:
  MemoryStore truth_;
  std::atomic<unsigned> listings_{0};
  std::atomic<unsigned> sorted_listings_{0};
  std::atomic<bool> is_known_{false};
};

}  // namespace nbdstack::testing
