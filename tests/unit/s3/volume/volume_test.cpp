// Reads and writes of a volume over a store in memory.
#include "plugins/s3/volume/volume.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <random>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::disk_object;
using testing::Gate;
using testing::kObject;
using testing::MemoryStore;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kConnections = 8;

class VolumeTest : public ::testing::Test {
 protected:
  Bytes read(std::size_t length, std::uint64_t offset) {
    Bytes bytes(length, std::byte{0xee});
    volume_.pread(bytes, offset);
    return bytes;
  }
  void write(const Bytes& bytes, std::uint64_t offset) {
    volume_.pwrite(bytes, offset, Durability::on_flush);
  }
  std::future<void> start(std::function<void()> request) {
    return std::async(std::launch::async, std::move(request));
  }
  // Until so many requests own or wait for blocks.
  void wait_for_writers(std::size_t count) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (volume_.writers() < count) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "nobody waits for the block";
      std::this_thread::yield();
    }
  }

  MemoryStore store_;
  Volume volume_{store_,
                 testing::plain_format("disk", kObject),
                 BlockGeometry(64 * kObject + 100, kObject),
                 {.connections = kConnections}};
};

TEST_F(VolumeTest, WhatWasNeverWrittenReadsAsZeros) {
  EXPECT_EQ(read(3 * kObject, 100), Bytes(3 * kObject));
}

TEST_F(VolumeTest, AWholeObjectIsWrittenWithoutReadingIt) {
  const Bytes data = pattern(2 * kObject, 1);
  write(data, kObject);
  EXPECT_EQ(store_.calls().size(), 2U);
  EXPECT_EQ(store_.calls(StoreOp::put).size(), 2U);
  EXPECT_EQ(store_.body_of(disk_object(2)), Bytes(data.begin() + kObject, data.end()));
}

TEST_F(VolumeTest, APartialWriteKeepsTheRestOfItsObject) {
  Bytes expected = pattern(kObject, 1);
  write(expected, 0);
  const Bytes part = pattern(10, 2);
  write(part, 5);
  std::copy(part.begin(), part.end(), expected.begin() + 5);
  EXPECT_EQ(store_.body_of(disk_object(0)), expected);
}

TEST_F(VolumeTest, APartialWriteOfAnAbsentObjectStoresAWholeOne) {
  write(pattern(10, 1), kObject + 7);
  Bytes expected(kObject);
  const Bytes part = pattern(10, 1);
  std::copy(part.begin(), part.end(), expected.begin() + 7);
  EXPECT_EQ(store_.body_of(disk_object(1)), expected);
}

TEST_F(VolumeTest, TheLastObjectIsAsLongAsTheOthersWhereTheDiskEndsInsideIt) {
  const Bytes data = pattern(100, 3);
  write(data, 64 * kObject);
  EXPECT_EQ(store_.calls(StoreOp::get).size(), 0U) << "all of the disk's block was given";
  const auto object = store_.body_of(disk_object(64));
  ASSERT_TRUE(object.has_value());
  EXPECT_EQ(object->size(), kObject);
  EXPECT_EQ(Bytes(object->begin() + 100, object->end()), Bytes(kObject - 100));
  EXPECT_EQ(read(100, 64 * kObject), data);
  EXPECT_EQ(read(50, 64 * kObject + 50), Bytes(data.begin() + 50, data.end()));
}

TEST_F(VolumeTest, AWholeBlockIsReadVerifiedAndAPartByARange) {
  write(pattern(kObject, 1), 0);
  store_.forget_calls();
  read(kObject, 0);
  read(kObject - 1, 1);
  const std::vector<StoreCall> expected{{StoreOp::get, {disk_object(0)}},
                                        {StoreOp::get_range, {disk_object(0)}}};
  EXPECT_EQ(store_.calls(), expected);
}

TEST_F(VolumeTest, TwoPartialWritesOfOneObjectBothSurvive) {
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::get) gate.pass();
  });
  auto first = start([&] { write(pattern(16, 1), 0); });
  gate.wait_for_arrivals(1);
  auto second = start([&] { write(pattern(16, 2), 16); });
  wait_for_writers(2);
  EXPECT_EQ(store_.calls(StoreOp::get).size(), 1U)
      << "the second read before the first had written";
  gate.open();
  first.get();
  second.get();
  EXPECT_EQ(read(16, 0), pattern(16, 1));
  EXPECT_EQ(read(16, 16), pattern(16, 2));
}

TEST_F(VolumeTest, AWholeWriteIsNotUndoneByAPartialOneThatBeganBefore) {
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::get) gate.pass();
  });
  auto partial = start([&] { write(pattern(16, 1), 0); });
  gate.wait_for_arrivals(1);
  auto whole = start([&] { write(pattern(kObject, 2), 0); });
  wait_for_writers(2);
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
  gate.open();
  partial.get();
  whole.get();
  EXPECT_EQ(read(kObject, 0), pattern(kObject, 2));
}

TEST_F(VolumeTest, WritersOfDifferentObjectsDoNotWaitForEachOther) {
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put && call.keys.front() == disk_object(0)) gate.pass();
  });
  auto slow = start([&] { write(pattern(kObject, 1), 0); });
  gate.wait_for_arrivals(1);
  write(pattern(kObject, 2), kObject);
  EXPECT_EQ(read(kObject, kObject), pattern(kObject, 2));
  gate.open();
  slow.get();
}

TEST_F(VolumeTest, AReadDoesNotWaitForAWriteOfItsObject) {
  write(pattern(kObject, 1), 0);
  Gate gate;
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) gate.pass();
  });
  auto slow = start([&] { write(pattern(kObject, 2), 0); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read(kObject, 0), pattern(kObject, 1));
  gate.open();
  slow.get();
}

TEST_F(VolumeTest, OneReadHasAllItsConnectionsBusy) {
  Gate gate;
  store_.on_call([&](const StoreCall& /*call*/) { gate.pass(); });
  auto reading = start([&] { read(20 * kObject, 0); });
  gate.wait_for_arrivals(kConnections);  // hangs if they come one by one
  gate.open();
  reading.get();
  EXPECT_EQ(store_.most_calls_at_once(), kConnections);
}

TEST_F(VolumeTest, OneWriteHasAllItsConnectionsBusy) {
  Gate gate;
  store_.on_call([&](const StoreCall& /*call*/) { gate.pass(); });
  auto writing = start([&] { write(pattern(20 * kObject, 1), 0); });
  gate.wait_for_arrivals(kConnections);
  gate.open();
  writing.get();
  EXPECT_EQ(store_.most_calls_at_once(), kConnections);
  EXPECT_EQ(read(20 * kObject, 0), pattern(20 * kObject, 1));
}

TEST_F(VolumeTest, AFailureOfTheStoreReachesTheClientWithItsErrno) {
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) throw Error(ENOSPC, "quota");
    throw Error(ETIMEDOUT, "silence");
  });
  const auto code_of = [](const std::function<void()>& request) {
    try {
      request();
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  };
  EXPECT_EQ(code_of([&] { write(pattern(kObject, 1), 0); }), ENOSPC);
  EXPECT_EQ(code_of([&] { read(4 * kObject, 0); }), ETIMEDOUT);
  EXPECT_EQ(code_of([&] { write(pattern(1, 1), 0); }), ETIMEDOUT);
  EXPECT_TRUE(store_.keys().empty()) << "a partial write must not put what it could not read";
  EXPECT_EQ(volume_.writers(), 0U) << "a failed write gives its block back";
}

TEST_F(VolumeTest, AnObjectOfAnotherSizeIsAnErrorAndIsNotOverwrittenInPart) {
  store_.place(disk_object(0), pattern(100, 1));
  EXPECT_THROW(read(kObject, 0), Error);
  EXPECT_THROW(write(pattern(10, 2), 0), Error);
  EXPECT_EQ(store_.body_of(disk_object(0)), pattern(100, 1));
}

TEST_F(VolumeTest, NoObjectEverHasTwoWritesInFlight) {
  constexpr unsigned kThreads = 8;
  std::vector<std::future<void>> threads;
  for (unsigned seed = 0; seed < kThreads; ++seed) {
    threads.push_back(start([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 300; ++i) {
        const std::uint64_t offset = random() % (6 * kObject);
        const std::size_t length = 1 + random() % (3 * kObject);
        switch (random() % 4) {
          case 0:
            volume_.trim(length, offset, Durability::on_flush);
            break;
          case 1:
            volume_.zero(length, offset, {});
            break;
          default:
            write(pattern(length, seed), offset);
            break;
        }
      }
    }));
  }
  for (auto& thread : threads) thread.get();
  EXPECT_FALSE(store_.saw_overlapping_writes());
}

TEST_F(VolumeTest, RandomRequestsOfAllAlignmentsMatchAModel) {
  Bytes model(volume_.traits().size_bytes);
  std::mt19937 random(20);
  for (unsigned i = 0; i < 2000; ++i) {
    const std::uint64_t offset = random() % model.size();
    const std::size_t length =
        std::min<std::uint64_t>(1 + random() % (5 * kObject), model.size() - offset);
    const auto at = model.begin() + static_cast<std::ptrdiff_t>(offset);
    switch (random() % 4) {
      case 0:
        volume_.zero(length, offset, {});
        std::fill_n(at, length, std::byte{0});
        break;
      case 1:
        EXPECT_EQ(read(length, offset), Bytes(at, at + static_cast<std::ptrdiff_t>(length)));
        break;
      default: {
        const Bytes data = pattern(length, i);
        write(data, offset);
        std::copy(data.begin(), data.end(), at);
      }
    }
  }
  EXPECT_EQ(read(model.size(), 0), model);
}

TEST_F(VolumeTest, AnyByteMayBeAddressedAndTheObjectIsPreferred) {
  const LayerTraits& traits = volume_.traits();
  EXPECT_EQ(traits.minimum_block_size, 1U);
  EXPECT_EQ(traits.preferred_block_size, kObject);
  EXPECT_EQ(traits.maximum_block_size, 0xffffffffU);
  EXPECT_TRUE(traits.parallel && traits.can_write && traits.can_flush && traits.can_trim);
  EXPECT_TRUE(traits.can_fast_zero && traits.can_extents && traits.can_multi_conn);
  EXPECT_EQ(traits.fua, Support::native);
  EXPECT_EQ(traits.zero, Support::native);
  EXPECT_EQ(traits.cache, Support::none);
}

TEST_F(VolumeTest, ARequestBehindTheEndIsABrokenInvariant) {
  constexpr std::uint64_t kSize = 64 * kObject + 100;
  EXPECT_BROKEN(read(2, kSize - 1), "range.length <= size_bytes - range.offset");
  EXPECT_BROKEN(write(Bytes(2), kSize - 1), "range.length <=");
  EXPECT_BROKEN(volume_.zero(kObject, kSize, {}), "range.length <=");
  EXPECT_BROKEN(volume_.trim(kObject, kSize + 1, Durability::on_flush), "range.offset <=");
  const std::uint64_t wraps_around = ~std::uint64_t{0} - kObject + 1;
  EXPECT_BROKEN(volume_.trim(2 * kObject, wraps_around, Durability::on_flush), "range.offset <=");
  ExtentList found;
  EXPECT_BROKEN(volume_.extents(kObject, kSize, false, found), "range.length <=");
}

}  // namespace
}  // namespace nbdstack
