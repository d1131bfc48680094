// A store in memory, as the base of one that does something otherwise: it adds how objects are
// listed.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/store/object_store.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {

class StoreOverMemory : public ObjectStore {
 public:
  // What is in it.
  [[nodiscard]] MemoryStore& truth() { return truth_; }

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
  [[nodiscard]] bool lists_are_proof() const override { return truth_.lists_are_proof(); }

 private:
  MemoryStore truth_;
};

}  // namespace nbdstack::testing
