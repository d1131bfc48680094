// Who has lost the right to write is told so with the next request.
#include "filters/cache/serving/disk_watch.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "filters/cache/serving/background_thread.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/store/temporary_store.hpp"
#include "tests/unit/cache/engine/cache_fixture.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {
namespace {

class DiskWatchTest : public ::testing::Test {
 protected:
  DiskWatchTest() : below_(1U << 16U) { tell(WriteRight::held); }

  void tell(WriteRight right, std::uint64_t term = 5, std::uint64_t since = 5,
            const std::string& id = "a") {
    below_.set_identity(DiskIdentity{
        .id = id, .size_bytes = 1U << 16U, .term = WriterTerm{term, since}, .right = right});
  }
  void make(bool may_write = true) { watch_.emplace(below_.identity(), may_write); }
  int error_of_request() {
    try {
      watch_->admit(below_);
      return 0;
    } catch (const Error& error) {
      messages_.emplace_back(error.what());
      return error.code();
    }
  }

  FakeLayer below_;
  std::optional<DiskWatch> watch_;
  std::vector<std::string> messages_;
};

TEST_F(DiskWatchTest, WhatTellsNothingIsServed) {
  below_.set_identity(std::nullopt);
  make();
  EXPECT_EQ(error_of_request(), 0);
  EXPECT_TRUE(watch_->may_write_back(below_));
}

TEST_F(DiskWatchTest, ALostDiskIsRefusedAndSaidOnce) {
  make();
  watch_->set_hooks({.record_term = [](std::uint64_t) {}, .unwritten_bytes = [] { return 77U; }});
  EXPECT_EQ(error_of_request(), 0);
  tell(WriteRight::lost);
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
  EXPECT_NE(messages_[0].find("77 bytes"), std::string::npos);
  EXPECT_EQ(messages_[1], "");
  EXPECT_FALSE(watch_->may_write_back(below_));
  EXPECT_TRUE(below_.calls().empty());
}

TEST_F(DiskWatchTest, ADoubtIsDecidedByTheLayerBelow) {
  make();
  tell(WriteRight::doubtful);
  EXPECT_FALSE(watch_->may_write_back(below_));
  below_.on_call([&](const Call&) { tell(WriteRight::held); });
  EXPECT_EQ(error_of_request(), 0);
  EXPECT_EQ(below_.calls(Op::flush).size(), 1U);
  EXPECT_TRUE(watch_->may_write_back(below_));
}

TEST_F(DiskWatchTest, ADoubtThatStaysIsAnErrorUntilItIsOver) {
  make();
  tell(WriteRight::doubtful);
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
  tell(WriteRight::held);
  EXPECT_EQ(error_of_request(), 0);
}

TEST_F(DiskWatchTest, ADoubtThatTheLayerBelowDoesNotSurvive) {
  make();
  tell(WriteRight::doubtful);
  below_.on_call([&](const Call&) { throw Error(ESHUTDOWN, "the lease is lost"); });
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
}

TEST_F(DiskWatchTest, ALaterTermOfOursIsRecordedFirst) {
  make();
  std::vector<std::uint64_t> recorded;
  watch_->set_hooks({.record_term = [&](std::uint64_t term) { recorded.push_back(term); },
                     .unwritten_bytes = [] { return std::uint64_t{0}; }});
  tell(WriteRight::held, 8, 5);
  EXPECT_EQ(error_of_request(), 0);
  EXPECT_EQ(error_of_request(), 0);
  EXPECT_EQ(recorded, std::vector<std::uint64_t>{8});
  tell(WriteRight::held, 11, 9);
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
  EXPECT_FALSE(watch_->may_write_back(below_));
}

TEST_F(DiskWatchTest, ATermThatCannotBeRecordedIsNotServed) {
  make();
  watch_->set_hooks({.record_term = [](std::uint64_t) { throw Error(ENOSPC, "full"); },
                     .unwritten_bytes = [] { return std::uint64_t{0}; }});
  tell(WriteRight::held, 8, 5);
  EXPECT_EQ(error_of_request(), ENOSPC);
  EXPECT_EQ(error_of_request(), ENOSPC);
}

TEST_F(DiskWatchTest, AnotherDiskUnderAConnectionIsRefused) {
  make();
  tell(WriteRight::held, 5, 5, "b");
  EXPECT_EQ(error_of_request(), ESHUTDOWN);
}

TEST_F(DiskWatchTest, AReaderIsServedWhateverTheWriterDoes) {
  tell(WriteRight::none);
  make();
  tell(WriteRight::none, 9, 9);
  EXPECT_EQ(error_of_request(), 0);
}

TEST_F(DiskWatchTest, NothingIsWrittenBackBeforeAWriterHasCome) {
  make(false);
  EXPECT_EQ(error_of_request(), 0);
  EXPECT_FALSE(watch_->may_write_back(below_));
  watch_->writer_came();
  EXPECT_TRUE(watch_->may_write_back(below_));
}

TEST_F(DiskWatchTest, NothingIsWrittenBackOverALayerThatCannotBeWritten) {
  make();
  below_.change_traits().can_write = false;
  EXPECT_FALSE(watch_->may_write_back(below_));
}

// The same with a whole cache above.
class WatchedCacheTest : public DiskWatchTest {
 protected:
  WatchedCacheTest() { make_cache(FlushTo::below); }
  void make_cache(FlushTo flush) {
    const CacheSettings settings{.flush = flush, .block_size = 16384};
    layer_.reset();
    cache_ = std::make_shared<BlockCache>(
        settings, below_.traits().size_bytes,
        std::make_unique<HookedStore>(
            std::make_unique<TemporaryStore>(::testing::TempDir(), settings.block_size), hook_,
            flush == FlushTo::local),
        no_threads_, no_threads_);
    layer_.emplace(below_, cache_, settings, std::make_shared<DiskWatch>(below_.identity(), true));
  }
  template <typename Request>
  static int error_of(Request&& request) {
    try {
      request();
      return 0;
    } catch (const Error& error) {
      return error.code();
    }
  }

  WorkerPool no_threads_{0};
  HookedStore::Hook hook_;
  std::shared_ptr<BlockCache> cache_;
  std::optional<CacheLayer> layer_;
  std::vector<std::byte> page_ = pattern(4096, 1);
};

TEST_F(WatchedCacheTest, EveryRequestFailsOnceTheDiskIsLost) {
  layer_->pwrite(page_, 0, Durability::on_flush);
  tell(WriteRight::lost);
  ExtentList extents;
  EXPECT_EQ(error_of([&] { layer_->pread(page_, 0); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->pwrite(page_, 0, Durability::on_flush); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->zero(4096, 0, {}); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->trim(4096, 0, Durability::on_flush); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->flush(); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->cache(4096, 0); }), ESHUTDOWN);
  EXPECT_EQ(error_of([&] { layer_->extents(4096, 0, false, extents); }), ESHUTDOWN);
  layer_->finalize();
  EXPECT_TRUE(below_.calls().empty());
  EXPECT_EQ(cache_->unwritten_bytes(), 4096U);
}

TEST_F(WatchedCacheTest, AFlushDuringWhichTheDiskIsLostFails) {
  layer_->pwrite(page_, 0, Durability::on_flush);
  below_.on_call([&](const Call& call) {
    if (call.op == Op::flush) tell(WriteRight::lost);
  });
  EXPECT_EQ(error_of([&] { layer_->flush(); }), ESHUTDOWN);
}

TEST_F(WatchedCacheTest, TheBackgroundWritesNothingOverALostDisk) {
  make_cache(FlushTo::local);
  layer_->pwrite(page_, 0, Durability::on_flush);
  layer_->flush();  // the background is to write everything back
  tell(WriteRight::lost);
  std::promise<void> looked;
  make();
  LentLayers lent;
  const Loan loan(below_, &lent);
  {
    std::atomic<bool> first = true;
    const BackgroundThread background(*cache_, std::make_unique<ClientsBelow>(lent),
                                      [&](Layer& layer) {
                                        const bool may = watch_->may_write_back(layer);
                                        if (first.exchange(false)) looked.set_value();
                                        return may;
                                      });
    looked.get_future().wait();
  }
  EXPECT_TRUE(below_.calls().empty());
}

}  // namespace
}  // namespace nbdstack::testing
