// A ZeroBlockLayer over a FakeLayer, with small blocks.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "filters/zeroblock/zeroblock_layer.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kBlocks = 16;
constexpr std::uint64_t kTail = 1000;  // the last block is short
constexpr std::uint64_t kDiskSize = kBlocks * kBlock + kTail;
constexpr ExtentType kStoredZeros{.hole = false, .zero = true};

inline Range blocks(std::uint64_t first, std::uint64_t count = 1) {
  return {first * kBlock, std::min(count * kBlock, kDiskSize - first * kBlock)};
}

// The errno that `action` throws, 0 for none.
inline int error_of(const std::function<void()>& action) {
  try {
    action();
    return 0;
  } catch (const Error& error) {
    return error.code();
  }
}

// What a scan asks, from beginning to end.
inline void walk_all(Layer& below, ZeroMap& map) {
  for (std::uint64_t position = 0; position < map.geometry().size_bytes();) {
    position = ask_from(below, map, position);
  }
}

class ZeroBlockTest : public ::testing::Test {
 protected:
  // The disk below is full of something else than zeros.
  void SetUp() override {
    below.fill({0, kDiskSize}, std::byte{7});
    open();
  }

  // Anew, over what below.change_traits() says by now: nothing is known.
  void open() {
    shared = std::make_shared<ZeroBlockState>(below.traits(), kBlock);
    layer = std::make_unique<ZeroBlockLayer>(below, shared);
  }

  [[nodiscard]] Bytes read(const Range& range) const {
    Bytes data(range.length, std::byte{99});
    layer->pread(data, range.offset);
    return data;
  }
  void write(const Bytes& data, std::uint64_t offset,
             Durability durability = Durability::on_flush) const {
    layer->pwrite(data, offset, durability);
  }
  void zero(const Range& range, const ZeroOptions& options = {.may_trim = true}) const {
    layer->zero(range.length, range.offset, options);
  }
  void trim(const Range& range, Durability durability = Durability::on_flush) const {
    layer->trim(range.length, range.offset, durability);
  }
  [[nodiscard]] std::vector<Extent> extents(const Range& range, bool only_one = false) const {
    ExtentList found;
    layer->extents(range.length, range.offset, only_one, found);
    return found.all();
  }

  // Known to be zeros from now on, and zeros; the layer below forgets how that came about.
  void make_zeros(const Range& range, bool hole = true) {
    zero(range, {.may_trim = hole});
    below.forget_calls();
  }
  [[nodiscard]] bool knows_zeros(const Range& range) const { return shared->map.is_zeros(range); }
  [[nodiscard]] std::vector<Extent> known(const Range& range) const {
    return shared->map.known(range);
  }

  // The next call of this kind fails, later ones work.
  void fail_next(Op op, int code = EIO) {
    below.on_call([this, op, code](const Call& call) {
      if (call.op != op) return;
      below.on_call(nullptr);
      throw Error(code, "told to fail");
    });
  }
  // The next call of this kind waits before it takes effect; what fails, fails then.
  void hold_next(Op op, Gate& gate, int failure = 0) {
    below.on_call([this, op, &gate, failure](const Call& call) {
      if (call.op != op) return;
      below.on_call(nullptr);
      gate.pass();
      if (failure != 0) throw Error(failure, "told to fail");
    });
  }
  void wait_for_claims(std::size_t count) const {
    while (shared->changes.claims() < count) std::this_thread::yield();
  }

  FakeLayer below{kDiskSize};
  std::shared_ptr<ZeroBlockState> shared;
  std::unique_ptr<ZeroBlockLayer> layer;
};

}  // namespace nbdstack::testing
