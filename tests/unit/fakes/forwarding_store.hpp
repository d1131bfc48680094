// A durable store with places to stop at: before it reads or forgets, and after it has committed.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "filters/cache/store/slot_store.hpp"

namespace nbdstack::testing {

class ForwardingStore final : public SlotStore {
 public:
  // Set before the store is used; called without a lock, on the caller's thread.
  struct Hooks {
    std::function<void()> before_read = [] {};
    std::function<void()> before_forget = [] {};
    std::function<void()> after_commit = [] {};
  };

  ForwardingStore(std::unique_ptr<SlotStore> store, const Hooks& hooks)
      : store_(std::move(store)), hooks_(hooks) {}

  [[nodiscard]] bool is_durable() const override { return store_->is_durable(); }
  [[nodiscard]] std::string name() const override { return store_->name(); }
  Recovered recover() override { return store_->recover(); }
  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) override {
    hooks_.before_read();
    store_->read(slot, buffer, offset_in_block);
  }
  WriteReceipt write(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                     PageMask stored) override {
    return store_->write(slot, data, offset_in_block, stored);
  }
  WriteReceipt forget(Slot slot, PageMask pages, PageMask stored) override {
    hooks_.before_forget();
    return store_->forget(slot, pages, stored);
  }
  void discard(Slot slot) override { store_->discard(slot); }
  bool verify(Slot slot, PageMask stored) override { return store_->verify(slot, stored); }
  void taken(Slot slot) override { store_->taken(slot); }
  void wrote(Slot slot, BlockNumber block, const WriteReceipt& stored, bool dirty) override {
    store_->wrote(slot, block, stored, dirty);
  }
  void zeroed(Slot slot, BlockNumber block, const WriteReceipt& given_up, bool may_trim) override {
    store_->zeroed(slot, block, given_up, may_trim);
  }
  void forgotten(Slot slot, const WriteReceipt& given_up) override {
    store_->forgotten(slot, given_up);
  }
  void cleaned(Slot slot, PageMask pages) override { store_->cleaned(slot, pages); }
  void dropped(Slot slot) override { store_->dropped(slot); }
  void vacated(Slot slot) override { store_->vacated(slot); }
  void zeros_added(const Range& range, bool may_trim) override {
    store_->zeros_added(range, may_trim);
  }
  void zeros_removed(const Range& range) override { store_->zeros_removed(range); }
  [[nodiscard]] PageMask committed(Slot slot, PageMask dirty) const override {
    return store_->committed(slot, dirty);
  }
  [[nodiscard]] PageMask changed_since(Slot slot, PageMask dirty) const override {
    return store_->changed_since(slot, dirty);
  }
  [[nodiscard]] bool zeros_committed(const Range& range) const override {
    return store_->zeros_committed(range);
  }
  [[nodiscard]] bool may_reuse(Slot slot) const override { return store_->may_reuse(slot); }
  [[nodiscard]] std::size_t extra_slots() const override { return store_->extra_slots(); }
  void publish() override { store_->publish(); }
  void commit() override {
    store_->commit();
    hooks_.after_commit();
  }
  void confirm() override { store_->confirm(); }
  void close(std::span<const Slot> least_recent_first) override {
    store_->close(least_recent_first);
  }

 private:
  std::unique_ptr<SlotStore> store_;
  const Hooks& hooks_;
};

}  // namespace nbdstack::testing
