// Memory runs out once, at the n-th allocation of a history of requests, for every n: no request
// hangs, what was acknowledged is there, and when there is memory again everything works.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "filters/cache/store/encrypted_temporary_store.hpp"
#include "filters/cache/store/temporary_store.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint32_t kPage = 4096;
constexpr std::uint32_t kBlock = 4 * kPage;
constexpr std::uint64_t kPages = 64;

struct Shape {
  std::string name;
  bool durable;
  CacheMode mode;
  FlushTo flush;
  bool encrypted = false;
};

class CacheMemory : public ::testing::TestWithParam<Shape> {
 protected:
  // What a page may contain.
  using Values = std::set<int>;

  void start() {
    // In memory where there is such a place: a commit on a disk that is busy takes its time.
    const std::filesystem::path memory("/dev/shm");
    directory_ =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    directory_ /= "memory-test-" + std::to_string(::getpid());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    below_ = std::make_unique<FakeLayer>(kPages * kPage);
    CacheSettings settings;
    settings.mode = GetParam().mode;
    settings.flush = GetParam().flush;
    settings.block_size = kBlock;
    settings.max_size_bytes = 6 * kBlock;
    settings.fetch_bytes = 2 * kBlock;
    settings.cache_on_read = [] { return true; };
    cache_ = std::make_unique<BlockCache>(settings, kPages * kPage, make_store(), reads_, writes_);
    values_.assign(kPages, {0});
  }
  std::unique_ptr<SlotStore> make_store() const {
    const Shape& shape = GetParam();
    if (shape.durable) {
      return std::make_unique<DurableStore>(std::make_unique<SystemDirectory>(directory_.string()),
                                            kBlock, kPages * kPage, Damaged::refuse,
                                            shape.encrypted ? fixed_cipher() : nullptr);
    }
    if (shape.encrypted) {
      return std::make_unique<EncryptedTemporaryStore>(directory_.string(), kBlock);
    }
    return std::make_unique<TemporaryStore>(directory_.string(), kBlock);
  }
  void end() {
    cache_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Whether the request succeeded. Memory runs out in requests only, not in the test itself.
  bool succeeds(const std::function<void()>& request) {
    fail_allocation(countdown_);
    bool succeeded = true;
    try {
      request();
    } catch (const Error&) {
      succeeded = false;
    } catch (const std::bad_alloc&) {
      succeeded = false;
    }
    countdown_ = stop_failing();
    return succeeded;
  }

  void change(std::uint64_t first, std::uint64_t count, int value, bool acknowledged) {
    for (std::uint64_t page = first; page < first + count; ++page) {
      if (acknowledged) values_[page].clear();
      values_[page].insert(value);
    }
  }

  void request(std::mt19937& random, int value) {
    const std::uint64_t first = random() % kPages;
    const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 9, kPages - first);
    const std::uint64_t offset = first * kPage;
    std::vector<std::byte> buffer(count * kPage, static_cast<std::byte>(value));
    const bool fua = random() % 8 == 0;
    const auto durability = fua ? Durability::fua : Durability::on_flush;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
        change(first, count, value,
               succeeds([&] { cache_->write(*below_, buffer, offset, durability); }));
        break;
      case 3:
        if (succeeds([&] { cache_->read(*below_, buffer, offset); })) check(buffer, first);
        break;
      case 4:
        change(first, count, 0, succeeds([&] {
                 cache_->zero(*below_, {offset, count * kPage},
                              {.may_trim = true, .fast = false, .durability = durability});
               }));
        break;
      case 5:
        succeeds([&] { cache_->prefetch(*below_, {offset, count * kPage}); });
        break;
      case 6:
        succeeds([&] { cache_->flush(*below_); });
        break;
      default:
        succeeds([&] { cache_->background().step(*below_, TimePoint(std::chrono::hours(1))); });
    }
  }

  void check(const std::vector<std::byte>& content, std::uint64_t first) const {
    for (std::size_t at = 0; at < content.size(); at += kPage) {
      const std::uint64_t page = first + at / kPage;
      const int found = std::to_integer<int>(content[at]);
      EXPECT_TRUE(values_[page].contains(found)) << "page " << page << " holds " << found;
    }
  }

  // Whether the allocation that was to fail has come.
  bool history(long number) {
    start();
    countdown_ = number;
    std::mt19937 random(1);
    const int requests = GetParam().durable ? 20 : 40;  // each commit costs some time
    for (int value = 1; value <= requests; ++value) request(random, value);
    const bool came = countdown_ == 0;
    countdown_ = 0;  // there is memory again
    // A failure of the background may have to be told once.
    succeeds([&] { cache_->flush(*below_); });
    cache_->write_back_all(*below_);
    cache_->flush(*below_);
    std::vector<std::byte> content(kPages * kPage);
    cache_->read(*below_, content, 0);
    check(content, 0);
    EXPECT_FALSE(cache_->has_unwritten());
    check(below_->content(), 0);
    cache_->close();
    end();
    return came;
  }

  WorkerPool reads_{2};
  WorkerPool writes_{2};
  std::filesystem::path directory_;
  std::unique_ptr<FakeLayer> below_;
  std::unique_ptr<BlockCache> cache_;
  std::vector<Values> values_;
  long countdown_ = 0;
};

TEST_P(CacheMemory, EveryAllocationMayFail) {
  EXPECT_GT(for_every_allocation([&](long number) { return history(number); }), 100);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CacheMemory,
    ::testing::Values(Shape{"Temporary", false, CacheMode::writeback, FlushTo::below},
                      Shape{"Writethrough", false, CacheMode::writethrough, FlushTo::below},
                      Shape{"TemporaryEncrypted", false, CacheMode::writeback, FlushTo::below,
                            true},
                      Shape{"DurableEncrypted", true, CacheMode::writeback, FlushTo::local, true},
                      Shape{"Durable", true, CacheMode::writeback, FlushTo::below},
                      Shape{"DurableLocal", true, CacheMode::writeback, FlushTo::local},
                      Shape{"DurableWritethrough", true, CacheMode::writethrough, FlushTo::below}),
    [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace nbdstack::testing
