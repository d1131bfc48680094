// What a start with a large cache costs: it grows with what is cached, not with the disk.
#include <gtest/gtest.h>
#include <malloc.h>

#include <ctime>
#include <filesystem>
#include <memory>
#include <vector>

#include "common/sync/worker_pool.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack {
namespace {

constexpr Slot kBlocks = testing::kSanitized ? 20'000 : 1'000'000;
constexpr std::uint32_t kBlockSize = 64U << 10U;
constexpr std::uint64_t kDiskSize = (std::uint64_t{1} << 63U) - 1;

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::size_t allocated_bytes() {
  ::malloc_trim(0);
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

class CacheStartUp : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "nbdstack-start-up-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  [[nodiscard]] std::unique_ptr<DurableStore> open() const {
    return std::make_unique<DurableStore>(std::make_unique<SystemDirectory>(path_), kBlockSize,
                                          kDiskSize);
  }
  // An index of blocks all over the disk. Their content is of no interest to a start.
  void fill() const {
    const auto store = open();
    store->recover();
    const record::Checksums ones(16, 1);
    const DurableStore::Notes notes{.now = ones, .old = ones};
    const WriteReceipt all{.pages = 0xffff, .notes = std::make_shared<DurableStore::Notes>(notes)};
    for (Slot slot = 0; slot < kBlocks; ++slot) {
      store->taken(slot);
      store->wrote(slot, {std::uint64_t{slot} * 97'000'003}, all, false);
      if (slot % 50'000 == 0) store->commit();
    }
    store->commit();
    store->close({});
  }

  std::string path_;
};

TEST_F(CacheStartUp, GrowsWithWhatIsCachedInTimeAndMemory) {
  fill();
  WorkerPool pool(1);
  const CacheSettings settings{.block_size = kBlockSize,
                               .max_size_bytes = std::uint64_t{kBlocks} * 2 * kBlockSize};
  const std::size_t bytes_before = allocated_bytes();
  const double cpu_before = cpu_seconds();
  const auto cache = std::make_unique<BlockCache>(settings, kDiskSize, open(), pool, pool);
  const double cpu = cpu_seconds() - cpu_before;
  const std::size_t bytes = allocated_bytes() - bytes_before;
  EXPECT_EQ(cache->cached_bytes(), std::uint64_t{kBlocks} * kBlockSize);
  RecordProperty("cpu_seconds", std::to_string(cpu));
  EXPECT_LT(cpu, 10.0);  // 2 s are allowed, and well under 1 s is usual; machines differ
  if (!testing::kSanitized) {
    EXPECT_LE(bytes / kBlocks, 64U);
  }
  std::printf("%u blocks: %.2f s of CPU, %zu bytes a block\n", kBlocks, cpu, bytes / kBlocks);
}

}  // namespace
}  // namespace nbdstack
