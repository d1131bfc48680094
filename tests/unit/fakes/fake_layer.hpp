// A layer below in memory, for engine tests: it logs every call, and a hook decides what a call
// does before it takes effect: nothing, throw, or wait until the test lets it go on (Gate). So a
// test chooses the order of events and never sleeps.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/error.hpp"

namespace nbdstack::testing {

enum class Op : std::uint8_t { pread, pwrite, flush, zero, trim, cache, extents };

struct Call {
  Op op;
  Range range;
  Durability durability = Durability::on_flush;

  friend bool operator==(const Call&, const Call&) = default;
};

// Calls that arrive wait here until the test opens the gate; the test can wait for arrivals.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for_arrivals(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // protects everything below
  std::condition_variable changed_;
  std::size_t arrived_ = 0;
  bool open_ = false;
};

class FakeLayer final : public Layer {
 public:
  using Hook = std::function<void(const Call&)>;

  explicit FakeLayer(std::size_t size_bytes) : data_(size_bytes) {
    traits_.size_bytes = size_bytes;
    traits_.can_write = traits_.can_flush = traits_.can_trim = true;
    traits_.can_extents = traits_.can_multi_conn = true;
    traits_.zero = traits_.fua = Support::native;
  }

  // Before the layer is used.
  LayerTraits& change_traits() { return traits_; }
  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  // Called before each call takes effect, without a lock, on the caller's thread. May be changed
  // while calls are under way.
  void on_call(Hook hook) {
    const std::lock_guard lock(mutex_);
    hook_ = std::move(hook);
  }

  // For pread only: called with the bytes about to be returned, to corrupt them or to put old ones
  // in their place.
  void on_read_result(std::function<void(std::span<std::byte>, std::uint64_t)> hook) {
    const std::lock_guard lock(mutex_);
    read_hook_ = std::move(hook);
  }

  // What the layer's extents() says; all data unless set.
  void set_extents(const ExtentList& extents) {
    const std::lock_guard lock(mutex_);
    extents_ = extents;
  }

  // What the layer tells of its disk; nothing unless set. May change while the layer is in use.
  void set_identity(const std::optional<DiskIdentity>& identity) {
    const std::lock_guard lock(mutex_);
    identity_ = identity ? std::make_shared<const DiskIdentity>(*identity) : nullptr;
  }
  std::shared_ptr<const DiskIdentity> identity() override {
    const std::lock_guard lock(mutex_);
    return identity_;
  }

  [[nodiscard]] std::vector<Call> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  [[nodiscard]] std::vector<Call> calls(Op op) const {
    std::vector<Call> result = calls();
    std::erase_if(result, [&](const Call& call) { return call.op != op; });
    return result;
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }

  [[nodiscard]] std::vector<std::byte> content() const {
    const std::lock_guard lock(mutex_);
    return data_;
  }
  [[nodiscard]] std::vector<std::byte> content(const Range& range) const {
    const std::vector<std::byte> all = content();
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(range.offset);
    return {first, first + static_cast<std::ptrdiff_t>(range.length)};
  }
  void fill(const Range& range, std::byte value) {
    const std::lock_guard lock(mutex_);
    std::fill_n(data_.begin() + static_cast<std::ptrdiff_t>(range.offset), range.length, value);
  }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    begin({Op::pread, {offset, buffer.size()}});
    std::function<void(std::span<std::byte>, std::uint64_t)> hook;
    {
      const std::lock_guard lock(mutex_);
      std::memcpy(buffer.data(), data_.data() + offset, buffer.size());
      hook = read_hook_;
    }
    if (hook) hook(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    begin({Op::pwrite, {offset, buffer.size()}, durability});
    const std::lock_guard lock(mutex_);
    std::memcpy(data_.data() + offset, buffer.data(), buffer.size());
  }
  void flush() override { begin({Op::flush, {}}); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    begin({Op::zero, {offset, length}, options.durability});
    fill({offset, length}, std::byte{0});
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    begin({Op::trim, {offset, length}, durability});
    fill({offset, length}, std::byte{0});
  }
  void cache(std::uint64_t length, std::uint64_t offset) override {
    begin({Op::cache, {offset, length}});
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    begin({Op::extents, {offset, length}});
    const std::lock_guard lock(mutex_);
    const Range asked{offset, length};
    if (extents_.empty()) extents.append(asked, kData);
    for (const Extent& extent : extents_.all()) {
      extents.append(asked.intersection(extent.range), extent.type);
      if (only_one && !extents.empty()) return;
    }
  }

 private:
  void begin(const Call& call) {
    Hook hook;
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(call);
      hook = hook_;
    }
    if (hook) hook(call);
  }

  LayerTraits traits_;
  mutable std::mutex mutex_;  // protects everything below
  std::vector<std::byte> data_;
  std::vector<Call> calls_;
  ExtentList extents_;
  std::shared_ptr<const DiskIdentity> identity_;
  Hook hook_;
  std::function<void(std::span<std::byte>, std::uint64_t)> read_hook_;
};

// `length` bytes that depend on seed and position, so that misplaced data shows.
inline std::vector<std::byte> pattern(std::size_t length, unsigned seed) {
  std::vector<std::byte> bytes(length);
  std::uint32_t state = seed * 2654435761U + 1;
  for (std::byte& each : bytes) {
    state = state * 1664525U + 1013904223U;
    each = static_cast<std::byte>(state >> 24U);
  }
  return bytes;
}

}  // namespace nbdstack::testing
