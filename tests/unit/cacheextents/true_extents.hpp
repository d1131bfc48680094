// A layer below that has extents and no content: of any size, it knows which ranges are data, holes
// or zeros, and answers with that. The test stops a call before it takes effect or after, cuts
// replies short, and lets calls fail.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "common/block/layer.hpp"
#include "common/block/run_map.hpp"
#include "common/error.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

class TrueExtents final : public Layer {
 public:
  using Hook = std::function<void(const Call&)>;

  explicit TrueExtents(std::uint64_t size_bytes) {
    traits_.size_bytes = size_bytes;
    traits_.can_write = traits_.can_trim = traits_.can_flush = traits_.can_extents = true;
    traits_.can_multi_conn = true;
    traits_.zero = Support::native;
    types_.assign({0, size_bytes}, kHole);
  }

  // Before the layer is used.
  LayerTraits& change_traits() { return traits_; }
  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  // Called before a call takes effect, and after it but before it returns; without a lock, on the
  // caller's thread.
  void before(Hook hook) { set(before_, std::move(hook)); }
  void after(Hook hook) { set(after_, std::move(hook)); }

  // Replies have at most so many extents, and tell of at most so many bytes.
  void cut_replies(std::size_t extents, std::uint64_t length) {
    const std::lock_guard lock(mutex_);
    most_extents_ = extents;
    most_bytes_ = length;
  }
  // What a trim leaves, until said otherwise holes.
  void trims_leave(ExtentType type) {
    const std::lock_guard lock(mutex_);
    trimmed_ = type;
  }
  // What the layer tells of its disk; nothing unless set.
  void set_identity(const DiskIdentity& identity) {
    const std::lock_guard lock(mutex_);
    identity_ = std::make_shared<const DiskIdentity>(identity);
  }
  std::shared_ptr<const DiskIdentity> identity() override {
    const std::lock_guard lock(mutex_);
    return identity_;
  }
  // Behind everybody's back.
  void put(const Range& range, ExtentType type) {
    const std::lock_guard lock(mutex_);
    types_.assign(range, type);
  }
  [[nodiscard]] ExtentType at(std::uint64_t offset) const {
    const std::lock_guard lock(mutex_);
    return types_.find(offset)->value;
  }
  // Ranges of the calls so far.
  [[nodiscard]] std::vector<Range> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  void pread(std::span<std::byte> /*buffer*/, std::uint64_t /*offset*/) override {}
  void flush() override {}
  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability /*durability*/) override {
    change({Op::pwrite, {offset, buffer.size()}}, kData);
  }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    change({Op::zero, {offset, length}}, {.hole = options.may_trim, .zero = true});
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability /*durability*/) override {
    change({Op::trim, {offset, length}}, trimmed());
  }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    const Call call{Op::extents, {offset, length}};
    run(before_, call);
    tell(call.range, only_one, extents);
    run(after_, call);
  }

 private:
  void set(Hook& hook, Hook value) {
    const std::lock_guard lock(mutex_);
    hook = std::move(value);
  }
  void run(const Hook& hook, const Call& call) {
    Hook copy;
    {
      const std::lock_guard lock(mutex_);
      copy = hook;
    }
    if (copy) copy(call);
  }
  ExtentType trimmed() const {
    const std::lock_guard lock(mutex_);
    return trimmed_;
  }
  void change(const Call& call, ExtentType type) {
    run(before_, call);
    put(call.range, type);
    run(after_, call);
  }
  void tell(const Range& range, bool only_one, ExtentList& extents) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(range);
    const Range told{range.offset, std::min(range.length, most_bytes_)};
    std::size_t count = 0;
    for (const auto& each : types_.overlapping(told)) {
      extents.append(each.range, each.value);
      if (only_one || ++count == most_extents_) return;
    }
  }

  LayerTraits traits_;
  mutable std::mutex mutex_;  // protects everything below
  RunMap<ExtentType> types_;  // of every byte
  std::shared_ptr<const DiskIdentity> identity_;
  ExtentType trimmed_ = kHole;
  std::size_t most_extents_ = ~std::size_t{0};
  std::uint64_t most_bytes_ = ~std::uint64_t{0};
  std::vector<Range> asked_;
  Hook before_;
  Hook after_;
};

// A connection to it of its owner's own.
class Connection final : public Layer {
 public:
  explicit Connection(TrueExtents& disk) : disk_(disk), traits_(disk.traits()) {}
  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> /*buffer*/, std::uint64_t /*offset*/) override {}
  void pwrite(std::span<const std::byte> /*buffer*/, std::uint64_t /*offset*/,
              Durability /*durability*/) override {}
  void flush() override {}
  void zero(std::uint64_t /*length*/, std::uint64_t /*offset*/,
            const ZeroOptions& /*options*/) override {}
  void trim(std::uint64_t /*length*/, std::uint64_t /*offset*/,
            Durability /*durability*/) override {}
  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    disk_.extents(length, offset, only_one, extents);
  }

 private:
  TrueExtents& disk_;
  LayerTraits traits_;
};

}  // namespace nbdstack::testing
