// A cache of blocks of 16 pages over a sparse disk of any size, for tests of zeros and trims.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {

// A disk of any size: pages that were written are in memory, all others are zeros. It records how
// it is asked for zeros.
class SparseLayer final : public Layer {
 public:
  struct Zero {
    Range range;
    bool may_trim = false;
    Durability durability = Durability::on_flush;

    friend bool operator==(const Zero&, const Zero&) = default;
  };

  explicit SparseLayer(std::uint64_t size_bytes) {
    traits_.size_bytes = size_bytes;
    traits_.can_write = traits_.can_flush = traits_.can_trim = true;
    traits_.can_extents = traits_.can_multi_conn = true;
    traits_.zero = traits_.fua = Support::native;
  }

  LayerTraits& change_traits() { return traits_; }
  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  // Called before a zero or a write takes effect, without a lock. Set before the layer is used.
  std::function<void(Op, const Range&)> on_change = [](Op, const Range&) {};

  std::vector<Zero> zeros() const {
    const std::lock_guard lock(mutex_);
    return zeros_;
  }
  std::vector<Range> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }
  std::vector<Range> writes() const {
    const std::lock_guard lock(mutex_);
    return writes_;
  }
  [[nodiscard]] bool untouched() const {
    const std::lock_guard lock(mutex_);
    return zeros_.empty() && reads_.empty() && writes_.empty();
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    zeros_.clear();
    reads_.clear();
    writes_.clear();
  }
  std::vector<std::byte> content(const Range& range) const {
    std::vector<std::byte> bytes(range.length);
    const std::lock_guard lock(mutex_);
    copy_out(bytes, range.offset);
    return bytes;
  }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    reads_.push_back({offset, buffer.size()});
    copy_out(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset, Durability) override {
    on_change(Op::pwrite, {offset, buffer.size()});
    const std::lock_guard lock(mutex_);
    writes_.push_back({offset, buffer.size()});
    for_each_page(
        offset, buffer.size(),
        [&](std::uint64_t number, std::size_t in_page, std::size_t at, std::size_t length) {
          auto& page = pages_[number];
          page.resize(kPage);
          std::memcpy(page.data() + in_page, buffer.data() + at, length);
        });
  }
  void flush() override {}
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    on_change(Op::zero, {offset, length});
    const std::lock_guard lock(mutex_);
    zeros_.push_back({{offset, length}, options.may_trim, options.durability});
    const Range range{offset, length};
    for (auto& [number, page] : pages_) {
      const Range part = range.intersection({number * kPage, kPage});
      std::fill_n(page.begin() + static_cast<std::ptrdiff_t>(part.offset % kPage), part.length,
                  std::byte{0});
    }
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    zero(length, offset, {.may_trim = true, .durability = durability});
  }
  void cache(std::uint64_t, std::uint64_t) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool, ExtentList& extents) override {
    extents.append({offset, length}, kData);
  }

 private:
  // Calls fn(number of the page, offset in it, offset in the request, length).
  template <typename Fn>
  static void for_each_page(std::uint64_t offset, std::size_t length, Fn&& fn) {
    for (std::size_t done = 0; done < length;) {
      const std::size_t in_page = (offset + done) % kPage;
      const std::size_t part = std::min<std::size_t>(kPage - in_page, length - done);
      fn((offset + done) / kPage, in_page, done, part);
      done += part;
    }
  }
  void copy_out(std::span<std::byte> buffer, std::uint64_t offset) const {
    for_each_page(
        offset, buffer.size(),
        [&](std::uint64_t number, std::size_t in_page, std::size_t at, std::size_t length) {
          const auto found = pages_.find(number);
          if (found == pages_.end()) {
            std::memset(buffer.data() + at, 0, length);
          } else {
            std::memcpy(buffer.data() + at, found->second.data() + in_page, length);
          }
        });
  }

  LayerTraits traits_;
  mutable std::mutex mutex_;  // protects everything below
  std::map<std::uint64_t, std::vector<std::byte>> pages_;
  std::vector<Zero> zeros_;
  std::vector<Range> reads_;
  std::vector<Range> writes_;
};

// Blocks of 16 pages.
class CacheZero : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kBlock = 16 * kPage;
  using Zeros = std::vector<SparseLayer::Zero>;

  static Range block(std::uint64_t number, std::uint64_t count = 1) {
    return {number * kBlock, count * kBlock};
  }
  static Range page(std::uint64_t number, std::uint64_t count = 1) {
    return {number * kPage, count * kPage};
  }

  // Settings and the layer's traits may be changed before.
  CacheLayer& layer() {
    if (layer_ == nullptr) {
      cache_ = std::make_shared<BlockCache>(
          settings, below->traits().size_bytes,
          std::make_unique<HookedStore>(
              std::make_unique<TemporaryStore>("/tmp", settings.block_size), store_hook, false),
          reads_, writes_);
      layer_ = std::make_unique<CacheLayer>(*below, cache_, settings);
    }
    return *layer_;
  }
  BlockCache& cache() {
    layer();
    return *cache_;
  }
  // Data below, of which the cache has not heard.
  void fill_below(const Range& range) {
    below->pwrite(pattern(range.length, 99), range.offset, Durability::on_flush);
    below->forget_calls();
  }
  void zero(const Range& range, const ZeroOptions& options = {}) {
    layer().zero(range.length, range.offset, options);
  }
  void trim(const Range& range) { layer().trim(range.length, range.offset, Durability::on_flush); }
  void write(const Range& range, unsigned seed, Durability durability = Durability::on_flush) {
    layer().pwrite(pattern(range.length, seed), range.offset, durability);
  }
  std::vector<std::byte> read(const Range& range) {
    std::vector<std::byte> buffer(range.length);
    layer().pread(buffer, range.offset);
    return buffer;
  }
  static std::vector<std::byte> zeros(const Range& range) {
    return std::vector<std::byte>(range.length);
  }
  template <typename Body>
  static int code_of(Body body) {
    try {
      body();
      return 0;
    } catch (const Error& error) {
      return error.code();
    }
  }
  template <typename Body>
  std::future<void> later(Body body) {
    layer();
    return std::async(std::launch::async, body);
  }
  void count_stored() {
    store_hook.set([this](StoreOp op) { stored += op == StoreOp::write ? 1U : 0U; });
  }
  void fail_changes(int code) {
    below->on_change = [code](Op, const Range&) { throw Error(code, "as the test wants it"); };
  }
  void let_all_pass() {
    below->on_change = [](Op, const Range&) {};
  }

  CacheSettings settings{.block_size = static_cast<std::uint32_t>(kBlock)};
  std::unique_ptr<SparseLayer> below = std::make_unique<SparseLayer>(std::uint64_t{1} << 30U);
  HookedStore::Hook store_hook;
  std::atomic<unsigned> stored = 0;

 private:
  WorkerPool reads_{2};
  WorkerPool writes_{2};
  std::shared_ptr<BlockCache> cache_;
  std::unique_ptr<CacheLayer> layer_;
};

}  // namespace nbdstack::testing
