// A volume over a store in memory, of a kind that nobody else writes to, and whose listings are
// proof, as a directory's are.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/hashed_format.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack::testing {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t kTiB = std::uint64_t{1} << 40U;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

inline bool is_list(const StoreCall& call) {
  return call.op == StoreOp::list || call.op == StoreOp::next_page;
}

class VolumeOfOurs : public ::testing::Test {
 protected:
  VolumeOfOurs() { store_.set_lists_are_proof(true); }

  // One request of the listing at a time.
  void open(std::uint64_t size_bytes = kTiB) {
    volume_ = std::make_unique<Volume>(
        store_, format_, BlockGeometry(size_bytes, kObject),
        VolumeOptions{.connections = 4, .is_owner = [this] { return is_owner_.load(); }});
  }
  void open_listed(std::uint64_t size_bytes = kTiB) {
    open(size_bytes);
    volume_->wait_until_listed();
    store_.forget_calls();
  }
  void use_hashed_names() { format_ = testing::hashed_format("", BlockGeometry(kTiB, kObject)); }

  [[nodiscard]] std::string name_of(std::uint64_t block) const { return format_->name_of({block}); }
  void place(std::uint64_t block) { store_.place(name_of(block), content(block)); }
  static Bytes content(std::uint64_t block) {
    return pattern(kObject, static_cast<unsigned>(block) + 1);
  }

  Bytes read(std::uint64_t block) {
    Bytes data(kObject, std::byte{0xee});
    volume_->pread(data, block * kObject);
    return data;
  }
  void write(std::uint64_t block, const Bytes& data) {
    volume_->pwrite(data, block * kObject, Durability::on_flush);
  }
  void trim(std::uint64_t first, std::uint64_t count) {
    volume_->trim(count * kObject, first * kObject, Durability::on_flush);
  }
  void zero(std::uint64_t length, std::uint64_t offset, bool fast = false) {
    volume_->zero(length, offset, {.may_trim = true, .fast = fast});
  }
  std::vector<Extent> extents(std::uint64_t length, std::uint64_t offset) {
    ExtentList list;
    volume_->extents(length, offset, false, list);
    return list.all();
  }
  std::vector<std::string> removed() {
    std::vector<std::string> keys;
    for (const StoreCall& call : store_.calls(StoreOp::remove)) {
      keys.insert(keys.end(), call.keys.begin(), call.keys.end());
    }
    return keys;
  }

  MemoryStore store_;
  std::atomic<bool> is_owner_{true};
  std::shared_ptr<const BlockFormat> format_ = testing::plain_format("disk", kObject);
  std::unique_ptr<Volume> volume_;
  const Bytes zeros_ = Bytes(kObject);
};

}  // namespace nbdstack::testing
