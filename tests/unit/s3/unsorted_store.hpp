// A store in memory whose listings have an order of their own, as those of S3 Express: that of the
// keys written backwards. Nobody knows so before a listing has shown it.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/s3/store_over_memory.hpp"

namespace nbdstack::testing {

class UnsortedStore final : public StoreOverMemory {
 public:
  // Listings of everything.
  [[nodiscard]] unsigned listings() const { return listings_; }

  // Listings before the first that shows the order pretend to be in order.
  void seem_sorted_for(unsigned listings) { sorted_listings_ = listings; }

  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override {
    if (list_in_order(prefix, start_after, visit)) return;
    ++listings_;
    truth().list(prefix, start_after, visit);
  }
  bool list_in_order(const std::string& prefix, const std::string& start_after,
                     const std::function<bool(const ListedObject&)>& visit) override {
    if (sorted_listings_ == 0) is_known_ = true;
    if (is_known_) return false;
    --sorted_listings_;
    truth().list(prefix, start_after, visit);
    return true;
  }
  void list_in_any_order(const std::string& prefix,
                         const std::function<bool(const ListedObject&)>& visit) override {
    is_known_ = true;
    ++listings_;
    std::vector<ListedObject> objects;
    truth().list(prefix, "", [&](const ListedObject& object) {
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

 private:
  std::atomic<unsigned> listings_{0};
  std::atomic<unsigned> sorted_listings_{0};
  std::atomic<bool> is_known_{false};
};

}  // namespace nbdstack::testing
