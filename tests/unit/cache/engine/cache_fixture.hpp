// A cache of 4 KiB blocks over a fake layer of 1 MiB, and the few words that tests of it are
// written in. With larger blocks, block() counts pages.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/store/temporary_store.hpp"
#include "tests/unit/cache/engine/page.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

// What the cache asks of its store, as far as tests stop or count it.
enum class StoreOp : std::uint8_t { read, write, forget, commit, verify };

// A store whose content hooks can stop or let fail. It can say that it is durable, so that what
// depends on that is tested without files.
class HookedStore final : public SlotStore {
 public:
  // Called before each of them, without a lock, on the caller's thread. May be changed while calls
  // are under way. Outlives the store.
  class Hook {
   public:
    void set(std::function<void(StoreOp)> hook) {
      const std::lock_guard lock(mutex_);
      hook_ = std::move(hook);
    }
    void call(StoreOp op) const {
      std::function<void(StoreOp)> hook;
      {
        const std::lock_guard lock(mutex_);
        hook = hook_;
      }
      if (hook) hook(op);
    }

   private:
    mutable std::mutex mutex_;  // protects everything below
    std::function<void(StoreOp)> hook_;
  };

  HookedStore(std::unique_ptr<SlotStore> store, const Hook& hook, bool durable)
      : store_(std::move(store)), hook_(hook), durable_(durable) {}

  [[nodiscard]] bool is_durable() const override { return durable_; }
  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) override {
    hook_.call(StoreOp::read);
    store_->read(slot, buffer, offset_in_block);
  }
  WriteReceipt write(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                     PageMask stored) override {
    hook_.call(StoreOp::write);
    return store_->write(slot, data, offset_in_block, stored);
  }
  WriteReceipt forget(Slot slot, PageMask pages, PageMask stored) override {
    hook_.call(StoreOp::forget);
    return store_->forget(slot, pages, stored);
  }
  void discard(Slot slot) override { store_->discard(slot); }
  void commit() override { hook_.call(StoreOp::commit); }
  // What a test wants to have been left by an earlier server. A hook that throws damages a block.
  void pretend(Recovered recovered) { recovered_ = std::move(recovered); }
  Recovered recover() override { return recovered_; }
  bool verify(Slot /*slot*/, PageMask /*stored*/) override {
    try {
      hook_.call(StoreOp::verify);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

 private:
  std::unique_ptr<SlotStore> store_;
  const Hook& hook_;
  const bool durable_;
  Recovered recovered_;
};

class CacheTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 4096;
  static constexpr std::size_t kDiskSize = 1U << 20U;

  // Settings and the layer's traits may be changed before the first use of layer().
  CacheSettings settings{.block_size = kBlock};
  std::string directory = "/tmp";
  FakeLayer below{kDiskSize};
  HookedStore::Hook store_hook;
  bool durable_store = false;

  virtual std::unique_ptr<SlotStore> make_store() {
    return std::make_unique<HookedStore>(
        std::make_unique<TemporaryStore>(directory, settings.block_size), store_hook,
        durable_store);
  }

  BlockCache& cache() {
    layer();
    return *cache_;
  }
  CacheLayer& layer() {
    if (layer_ == nullptr) {
      cache_ = std::make_shared<BlockCache>(settings, below.traits().size_bytes, make_store(),
                                            reads_, writes_);
      layer_ = std::make_unique<CacheLayer>(below, cache_, settings);
    }
    return *layer_;
  }

  static Range block(std::uint64_t number, std::uint64_t count = 1) {
    return {number * kBlock, count * kBlock};
  }
  std::vector<std::byte> read(const Range& range) {
    std::vector<std::byte> buffer(range.length);
    layer().pread(buffer, range.offset);
    return buffer;
  }
  void write(const std::vector<std::byte>& data, std::uint64_t offset,
             Durability durability = Durability::on_flush) {
    layer().pwrite(data, offset, durability);
  }
  // On a thread of its own; the future carries the result or the Error.
  std::future<std::vector<std::byte>> read_later(const Range& range) {
    layer();
    return std::async(std::launch::async, [this, range] { return read(range); });
  }
  template <typename Body>
  std::future<void> later(Body body) {
    layer();
    return std::async(std::launch::async, body);
  }

  // A layer that makes zeros by writing them: trims go around the cache to it.
  void let_trims_go_around() { below.change_traits().zero = Support::emulated; }
  void trim(const Range& range) { layer().trim(range.length, range.offset, Durability::on_flush); }

  // Calls of one kind stop at the gate before they take effect; all others go on.
  void stop_at(Gate& gate, Op op) {
    below.on_call([&gate, op](const Call& call) {
      if (call.op == op) gate.pass();
    });
  }
  void fail(Op op, int code) {
    below.on_call([op, code](const Call& call) {
      if (call.op == op) throw Error(code, "as the test wants it");
    });
  }
  void let_all_pass() { below.on_call({}); }

  // What code a call fails with; 0 for none.
  template <typename Body>
  static int code_of(Body body) {
    try {
      body();
      return 0;
    } catch (const Error& error) {
      return error.code();
    }
  }

 private:
  WorkerPool reads_{4};
  WorkerPool writes_{4};
  std::shared_ptr<BlockCache> cache_;
  std::unique_ptr<CacheLayer> layer_;
};

}  // namespace nbdstack::testing
