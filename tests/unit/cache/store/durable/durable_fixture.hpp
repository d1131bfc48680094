// A DurableStore on a simulated disk, with blocks of 16 KiB (four pages).
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

// What has been logged as an error in this test.
inline std::vector<std::string>& logged_errors() {
  static std::vector<std::string> errors;
  return errors;
}

class DurableStoreTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kPage = 4096;
  static constexpr std::uint32_t kBlock = 4 * kPage;
  static constexpr std::uint64_t kBlocks = 64;
  static constexpr std::uint64_t kDisk = kBlocks * kBlock;

  DurableStoreTest() {
    logged_errors().clear();
    log::set_sink(
        {[](const char* message) { logged_errors().emplace_back(message); }, [](const char*) {}});
    restart();
  }

  // What is in memory is gone; the disk is as it is.
  void restart(Damaged damaged = Damaged::refuse) {
    store_.reset();
    store_ = std::make_unique<DurableStore>(disk_.directory(), kBlock, kDisk, damaged);
    recovered_ = store_->recover();
    taken_.clear();
    for (const RecoveredBlock& block : recovered_.blocks) taken_.insert(block.slot);
  }
  void crash(std::uint64_t seed) {
    store_.reset();
    disk_.crash(seed);
    restart();
  }

  static std::vector<std::byte> bytes(std::size_t size, int value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
  }
  // The slot is a block's from now on, if it is not already.
  void take(Slot slot) {
    if (taken_.insert(slot).second) store_->taken(slot);
  }
  // It is nobody's, and nobody uses it.
  void drop(Slot slot) {
    store_->dropped(slot);
    store_->vacated(slot);
    taken_.erase(slot);
  }
  // One page of the block with the same number as the slot.
  void put(Slot slot, unsigned page, int value, bool dirty, PageMask stored = 0) {
    take(slot);
    const WriteReceipt pages = store_->write(slot, bytes(kPage, value), page * kPage, stored);
    store_->wrote(slot, {slot}, pages, dirty);
  }
  void zero(Slot slot, PageMask pages, PageMask stored) {
    take(slot);
    store_->zeroed(slot, {slot}, store_->forget(slot, pages, stored), false);
  }
  // The byte that a page is full of; -1: of several.
  int get(Slot slot, unsigned page) {
    std::vector<std::byte> content(kPage);
    store_->read(slot, content, page * kPage);
    return content == bytes(kPage, std::to_integer<int>(content[0]))
               ? std::to_integer<int>(content[0])
               : -1;
  }
  // What was recovered of a block; no pages: nothing.
  Pages pages_of(std::uint64_t block) const {
    for (const RecoveredBlock& found : recovered_.blocks) {
      if (found.block.value == block) return found.pages;
    }
    return {};
  }
  // The start is refused, and has changed nothing; what it says.
  std::string refusal() {
    const SimulatedDisk before = disk_.copy();
    std::string message = "no refusal";
    try {
      restart();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
      message = error.what();
    }
    for (const std::string& name : before.names()) {
      EXPECT_EQ(disk_.content(name), before.content(name)) << name;
    }
    return message;
  }
  void damage(const std::string& name, std::uint64_t offset) {
    const auto content = disk_.content(name);
    disk_.overwrite(name, offset, content.at(offset) ^ std::byte{0xff});
  }
  std::string only_file(const std::string& prefix) const {
    std::string found;
    for (const std::string& name : disk_.names()) {
      if (name.starts_with(prefix)) found = found.empty() ? name : "more than one";
    }
    return found;
  }
  void fail_on(SimulatedDisk::Kind kind, const std::string& prefix, int code) {
    disk_.set_hook([=](const SimulatedDisk::Operation& operation) {
      if (operation.kind == kind && operation.name.starts_with(prefix)) {
        throw Error(code, "the disk says no");
      }
    });
  }

  SimulatedDisk disk_;
  std::unique_ptr<DurableStore> store_;
  Recovered recovered_;
  std::set<Slot> taken_;
};

using Kind = SimulatedDisk::Kind;

}  // namespace nbdstack::testing
