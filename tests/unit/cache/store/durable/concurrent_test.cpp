// Threads that write, zero, trim, read and flush over a durable store at the same time, against an
// oracle: live, and after the machine has stopped.
//
// Requests that run at the same time never share a page, but they share blocks, slots and commits.
// The simulated disk is too fast for commits to meet anything, so now and then a write into it
// waits for one or two of them, as long as there may be some.
//
// With a disk that is full now and then a request may fail: its pages then hold what they held
// before, or what it was to leave, and the others are not touched.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "tests/unit/cache/store/durable/runtime_fixture.hpp"
#include "tests/unit/fakes/sanitizer.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

constexpr int kRequests = kSanitized ? 600 : 2500;  // of each thread

struct Case {
  const char* name;
  FlushTo flush;
  std::uint64_t slots;
  CacheMode mode = CacheMode::writeback;
  Support zero = Support::native;  // of the layer below; where it is not, trims go around the cache
  std::uint32_t preferred_block_size = 0;
  std::size_t full_one_in = 0;  // one of so many writes into the directory finds no room; 0: none
  std::uint64_t pages = 256;    // of the disk that requests go to
  bool is_encrypted = false;
};

class ConcurrentCache : public RuntimeTest, public ::testing::WithParamInterface<Case> {
 protected:
  static constexpr int kThreads = 6;
  static constexpr std::uint64_t kPages = kDisk / kPage;
  static constexpr std::uint64_t kPagesPerBlock = kBlock / kPage;

  struct Pages {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };

  // Pages that nobody has a request on; they are the caller's until give_back().
  Pages take(std::mt19937& random, bool whole_blocks) {
    while (true) {
      const std::lock_guard lock(mutex_);
      Pages pages{random() % GetParam().pages, 1 + random() % kPagesPerBlock};
      if (whole_blocks) {
        pages = {pages.first / kPagesPerBlock * kPagesPerBlock,
                 kPagesPerBlock * (1 + random() % 2)};
      }
      pages.count = std::min(pages.count, kPages - pages.first);
      const auto first = busy_.begin() + static_cast<std::ptrdiff_t>(pages.first);
      const auto end = first + static_cast<std::ptrdiff_t>(pages.count);
      if (std::find(first, end, true) != end) continue;
      std::fill(first, end, true);
      return pages;
    }
  }
  void give_back(const Pages& pages, int value) {
    const std::lock_guard lock(mutex_);
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) {
      busy_[page] = false;
      if (value >= 0) expected_[page] = value;
    }
  }

  void request(std::mt19937& random) {
    const std::uint64_t choice = random() % 100;
    if (choice < 6) {
      tolerate([&] { layer->flush(); });
      return;
    }
    const bool is_zero = choice < 30;
    const bool is_read = !is_zero && choice < 50;
    const Pages pages = take(random, is_zero && choice < 24);
    const Range range{pages.first * kPage, pages.count * kPage};
    // Trims that go around the cache leave parts of blocks alone.
    const bool is_trim = choice >= 18 && (choice < 24 || trims_make_zeros());
    if (is_read) {
      compare(pages);
      return give_back(pages, -1);
    }
    const int value = is_zero ? 0 : 1 + static_cast<int>(random() % 255);
    const bool done = tolerate([&] {
      if (is_zero && !is_trim) {
        layer->zero(range.length, range.offset, {.may_trim = false});
      } else if (is_zero) {
        layer->trim(range.length, range.offset, Durability::on_flush);
      } else {
        layer->pwrite(bytes(range.length, value), range.offset,
                      random() % 20 == 0 ? Durability::fua : Durability::on_flush);
      }
    });
    if (!done) adopt(pages, value);
    give_back(pages, done ? value : -1);
  }
  // Whether it succeeded. Where there is no room, a request may fail.
  template <typename Body>
  static bool tolerate(Body body) {
    try {
      body();
      return true;
    } catch (const Error&) {
      if (GetParam().full_one_in == 0) throw;
      return false;
    }
  }
  // The request has failed: each page holds what it held, or what it was to hold. Whichever it is
  // from now on stays.
  void adopt(const Pages& pages, int value) {
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) {
      const int found = read(page);
      const std::lock_guard lock(mutex_);
      if (found != expected_[page] && found != value) {
        ADD_FAILURE() << "page " << page << " holds " << found << ", neither " << expected_[page]
                      << " nor " << value;
        failed_ = true;
      }
      expected_[page] = found;
    }
  }
  [[nodiscard]] static bool trims_make_zeros() {
    return GetParam().mode == CacheMode::writeback && GetParam().zero == Support::native;
  }
  // The caller's own.
  void compare(const Pages& pages) {
    std::vector<int> found;
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) {
      found.push_back(read(page));
    }
    const std::lock_guard lock(mutex_);
    for (std::uint64_t i = 0; i < pages.count; ++i) {
      if (found[i] == expected_[pages.first + i]) continue;
      ADD_FAILURE() << "page " << pages.first + i << " holds " << found[i] << ", not "
                    << expected_[pages.first + i];
      failed_ = true;
    }
  }

  // Who fetches from below waits now and then too, with what has been read.
  void let_commits_meet_reads() {
    below.on_read_result([this](std::span<std::byte>, std::uint64_t) {
      std::unique_lock lock(commits_mutex_);
      if (++reads_ % 4 == 0) wait_for_commits(lock, 1 + reads_ / 4 % 2);
    });
  }
  void let_commits_meet_writes() {
    disk.set_hook([this](const SimulatedDisk::Operation& operation) {
      std::unique_lock lock(commits_mutex_);
      if (operation.kind == SimulatedDisk::Kind::sync && operation.name.starts_with("journal")) {
        ++commits_;
        committed_.notify_all();
      }
      const bool is_write = operation.kind == SimulatedDisk::Kind::write;
      const std::size_t full_one_in = GetParam().full_one_in;
      if (full_one_in != 0 && is_write && full_() % full_one_in == 0) {
        throw Error(ENOSPC, "as the test wants it");
      }
      const bool is_data = is_write && operation.name.starts_with("data");
      if (!is_data || ++writes_ % 4 != 0) return;
      wait_for_commits(lock, 1 + writes_ / 4 % 2);
    });
  }
  void wait_for_commits(std::unique_lock<std::mutex>& lock, std::size_t count) {
    constexpr std::chrono::milliseconds kLongest{2};
    committed_.wait_for(lock, kLongest,
                        [&, wanted = commits_ + count] { return commits_ >= wanted; });
  }

  void run() {
    std::vector<std::thread> threads;
    for (int number = 0; number < kThreads; ++number) {
      threads.emplace_back([this, number] {
        std::mt19937 random(static_cast<unsigned>(number));
        for (int i = 0; i < kRequests && !failed_; ++i) request(random);
      });
    }
    TimePoint now{};
    while (!failed_ && std::any_of(threads.begin(), threads.end(),
                                   [](std::thread& thread) { return thread.joinable(); })) {
      now += std::chrono::seconds(1);
      cache->background().step(below, now);
      threads.back().join();
      threads.pop_back();
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::mutex mutex_;  // protects the next two
  std::vector<bool> busy_ = std::vector<bool>(kPages);
  std::vector<int> expected_ = std::vector<int>(kPages);
  std::atomic<bool> failed_ = false;
  std::mutex commits_mutex_;  // protects what follows
  std::condition_variable committed_;
  std::size_t commits_ = 0;
  std::size_t writes_ = 0;
  std::size_t reads_ = 0;
  std::mt19937 full_;
};

TEST_P(ConcurrentCache, AgreesWithTheOracleLiveAndAfterACrash) {
  if (GetParam().is_encrypted) cipher = fixed_cipher();
  settings.flush = GetParam().flush;
  settings.max_size_bytes = GetParam().slots * kBlock;
  settings.mode = GetParam().mode;
  settings.cache_on_read = [] { return true; };
  if (GetParam().full_one_in != 0) settings.full_retry = std::chrono::milliseconds(1);
  below.change_traits().zero = GetParam().zero;
  below.change_traits().preferred_block_size = GetParam().preferred_block_size;
  start();
  let_commits_meet_writes();
  if (GetParam().full_one_in != 0) let_commits_meet_reads();
  run();
  disk.set_hook({});
  below.on_read_result({});
  tolerate([&] { layer->flush(); });  // says what has failed in the background
  compare({0, kPages});
  layer->flush();
  if (GetParam().flush == FlushTo::below) {
    for (std::uint64_t page = 0; page < kPages; ++page) {
      ASSERT_EQ(read_below(page), expected_[page]) << "below, page " << page;
    }
  }
  end();
  disk.crash(kNothingSurvives);
  start();
  compare({0, kPages});
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, ConcurrentCache,
    ::testing::Values(
        Case{"LocalSmall", FlushTo::local, 24}, Case{"LocalLarge", FlushTo::local, 128},
        Case{"BelowSmall", FlushTo::below, 24}, Case{"BelowLarge", FlushTo::below, 128},
        Case{"WriteThrough", FlushTo::below, 24, CacheMode::writethrough},
        Case{"TrimsGoAround", FlushTo::local, 24, CacheMode::writeback, Support::emulated},
        Case{"LargeObjects", FlushTo::below, 24, CacheMode::writeback, Support::native, 65536},
        Case{"LocalFull", FlushTo::local, 6, CacheMode::writeback, Support::native, 0, 4, 32},
        Case{"BelowFull", FlushTo::below, 20, CacheMode::writeback, Support::native, 0, 8, 24},
        Case{"BelowFullLarge", FlushTo::below, 128, CacheMode::writeback, Support::native, 0, 4,
             32},
        Case{"LargeObjectsFull", FlushTo::below, 6, CacheMode::writeback, Support::native, 65536, 4,
             32},
        Case{"LocalEncrypted", FlushTo::local, 24, CacheMode::writeback, Support::native, 0, 0, 256,
             true},
        Case{"LocalFullEncrypted", FlushTo::local, 6, CacheMode::writeback, Support::native, 0, 4,
             32, true}),
    [](const auto& named) { return std::string(named.param.name); });

}  // namespace
}  // namespace nbdstack::testing
