// A cache of 4 KiB blocks over a fake layer of 1 MiB, and the few words that tests of it are
// written in.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "filters/cache/cache_layer.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

class CacheTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 4096;
  static constexpr std::size_t kDiskSize = 1U << 20U;

  // Settings and the layer's traits may be changed before the first use of layer().
  CacheSettings settings{.block_size = kBlock, .directory = "/tmp"};
  FakeLayer below{kDiskSize};

  BlockCache& cache() {
    layer();
    return *cache_;
  }
  CacheLayer& layer() {
    if (layer_ == nullptr) {
      cache_ = std::make_shared<BlockCache>(settings, below.traits().size_bytes, pool_);
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
  WorkerPool pool_{4};
  std::shared_ptr<BlockCache> cache_;
  std::unique_ptr<CacheLayer> layer_;
};

}  // namespace nbdstack::testing
