// A Md5Layer over a FakeLayer, with small blocks and a clock that the test drives.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "filters/md5/md5_layer.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kBlocks = 16;
constexpr std::size_t kDiskSize = kBlocks * kBlock + 1000;  // the last block is short

class Md5Test : public ::testing::Test {
 protected:
  void open(const Md5Options& options = {}) {
    shared = std::make_shared<Md5Export>(options, kBlock, clock);
    layer = std::make_unique<Md5Layer>(below, shared);
  }

  Bytes read(std::uint64_t offset, std::size_t length) const {
    Bytes data(length);
    layer->pread(data, offset);
    return data;
  }
  void write(const Bytes& data, std::uint64_t offset) const {
    layer->pwrite(data, offset, Durability::on_flush);
  }
  // Writes a block of its own pattern and returns it.
  Bytes write_block(std::uint64_t block, unsigned seed) const {
    Bytes data = pattern(kBlock, seed);
    write(data, block * kBlock);
    return data;
  }
  Bytes read_block(std::uint64_t block) const { return read(block * kBlock, kBlock); }

  // Whatever is read from below is damaged, until heal().
  void corrupt_reads() {
    below.on_read_result([](std::span<std::byte> data, std::uint64_t) { data[0] ^= std::byte{1}; });
  }
  void heal() { below.on_read_result(nullptr); }

  // The next call of this kind fails, later ones work.
  void fail_next(Op op) {
    below.on_call([this, op](const Call& call) {
      if (call.op != op) return;
      below.on_call(nullptr);
      throw Error(EIO, "told to fail");
    });
  }

  FakeClock clock;
  FakeLayer below{kDiskSize};
  std::shared_ptr<Md5Export> shared;
  std::unique_ptr<Md5Layer> layer;
};

// The errno that `action` throws, 0 for none; the message in `message`.
inline int error_of(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
    return 0;
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
}

}  // namespace nbdstack::testing
