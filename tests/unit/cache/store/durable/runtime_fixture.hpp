// The whole cache over a durable store on a simulated disk, and a layer below in memory: blocks of
// four pages.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/sync/worker_pool.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/fakes/forwarding_store.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

class RuntimeTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kPage = 4096;
  static constexpr std::uint32_t kBlock = 4 * kPage;
  static constexpr std::uint64_t kBlocks = 64;
  static constexpr std::uint64_t kNothingSurvives = 6;  // of what is not synced, with this seed
  static constexpr std::uint64_t kDisk = kBlocks * kBlock;

  ~RuntimeTest() override { disk.set_hook({}); }

  // A server begins, on what the disk holds.
  void start() {
    auto store =
        std::make_unique<DurableStore>(disk.directory(), kBlock, kDisk, Damaged::refuse, cipher);
    store->set_shortest_journal_bytes(shortest_journal_bytes);
    cache = std::make_shared<BlockCache>(settings, kDisk,
                                         std::make_unique<ForwardingStore>(std::move(store), hooks),
                                         reads_, writes_);
    layer = std::make_unique<CacheLayer>(below, cache, settings);
  }
  // It is gone with what was in memory; what is below stays.
  void end() {
    layer.reset();
    cache.reset();
  }

  static std::vector<std::byte> bytes(std::uint64_t size, int value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
  }
  void write(std::uint64_t page, int value) {
    layer->pwrite(bytes(kPage, value), page * kPage, Durability::on_flush);
  }
  void zero(std::uint64_t block, std::uint64_t count) {
    layer->zero(count * kBlock, block * kBlock, {.may_trim = false});
  }
  // The byte that a page is full of; -1: of several.
  int read(std::uint64_t page) {
    std::vector<std::byte> content(kPage);
    layer->pread(content, page * kPage);
    return value_of(content);
  }
  // Those writes of pages into the directory find no room for which `fails` says so, counted from
  // 1.
  void fail_writes(std::function<bool(std::size_t)> fails) {
    auto number = std::make_shared<std::atomic<std::size_t>>(0);
    disk.set_hook([fails = std::move(fails), number](const SimulatedDisk::Operation& operation) {
      const bool is_page =
          operation.kind == SimulatedDisk::Kind::write && operation.name.starts_with("data");
      if (is_page && fails(++*number)) throw Error(ENOSPC, "as the test wants it");
    });
  }
  int read_below(std::uint64_t page) { return value_of(below.content({page * kPage, kPage})); }

  CacheSettings settings{.block_size = kBlock};
  std::uint64_t shortest_journal_bytes = 20000;
  std::shared_ptr<const UnitCipher> cipher;  // null: pages lie in the clear
  SimulatedDisk disk;
  FakeLayer below{kDisk};
  ForwardingStore::Hooks hooks;
  std::shared_ptr<BlockCache> cache;
  std::unique_ptr<CacheLayer> layer;

 private:
  static int value_of(const std::vector<std::byte>& content) {
    const bool same = content == bytes(content.size(), std::to_integer<int>(content[0]));
    return same ? std::to_integer<int>(content[0]) : -1;
  }

  WorkerPool reads_{4};
  WorkerPool writes_{4};
};

}  // namespace nbdstack::testing
