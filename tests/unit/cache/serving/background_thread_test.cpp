// The thread that works beside the clients: over which layer, and when it gives that back.
#include "filters/cache/serving/background_thread.hpp"

#include <atomic>

#include "common/block/exclusive_layer.hpp"
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

// One block is dirty, and a flush is its thread's reason to work.
class CacheBackgroundThread : public CacheTest {
 protected:
  void SetUp() override {
    settings.flush = FlushTo::local;
    durable_store = true;
    write(data_, 0);
  }

  // A thread over `below_it` writes the block back, seen to be at it before it is told to stop.
  void expect_written(std::unique_ptr<BackgroundBelow> below_it) {
    Gate gate;
    stop_at(gate, Op::pwrite);
    {
      const BackgroundThread thread(cache(), std::move(below_it));
      layer().flush();
      gate.wait_for_arrivals(1);
      gate.open();
    }
    EXPECT_EQ(below.content(block(0)), data_);
  }

  const std::vector<std::byte> data_ = pattern(kBlock, 1);
  Mutex exclusive_;
  LentLayers clients_;
};

TEST_F(CacheBackgroundThread, WritesBackOverALayerOfItsOwn) {
  expect_written(std::make_unique<OwnBelow>(
      [this] { return std::make_unique<ExclusiveLayer>(below, exclusive_); }, clients_));
}

// A connection to the layer below, of which there may be several, and which may be lost for good.
class Connection final : public Layer {
 public:
  Connection(Layer& below, bool lost) : below_(below), lost_(lost) {}
  [[nodiscard]] const LayerTraits& traits() const override { return below_.traits(); }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    use().pread(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override {
    use().pwrite(buffer, offset, durability);
  }
  void flush() override { use().flush(); }
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    use().zero(length, offset, options);
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    use().trim(length, offset, durability);
  }
  void cache(std::uint64_t length, std::uint64_t offset) override { use().cache(length, offset); }
  void extents(std::uint64_t length, std::uint64_t offset, bool only_one,
               ExtentList& extents) override {
    use().extents(length, offset, only_one, extents);
  }

 private:
  Layer& use() {
    if (lost_) throw Error(ENOTCONN, "this connection is lost");
    return below_;
  }
  Layer& below_;
  const bool lost_;
};

TEST_F(CacheBackgroundThread, OpensTheLayerBelowAnewWhenItsConnectionIsLost) {
  std::atomic<int> opened = 0;
  expect_written(std::make_unique<OwnBelow>(
      [&] { return std::make_unique<Connection>(below, ++opened == 1); }, clients_));
  EXPECT_EQ(opened, 2);
}

// The first of the clients has lost its connection below, and has not noticed.
TEST_F(CacheBackgroundThread, TakesAnotherClientsLayerWhenOneHasLostItsConnection) {
  Connection lost(below, true);
  const Loan first(lost, &clients_);
  const Loan second(below, &clients_);
  expect_written(std::make_unique<ClientsBelow>(clients_));
}

// The layer below refuses one more connection, as nbdkit's filter limit does.
TEST_F(CacheBackgroundThread, WritesBackOverAClientsLayerWhereItCanHaveNoneOfItsOwn) {
  const Loan client(below, &clients_);
  expect_written(std::make_unique<OwnBelow>(
      []() -> std::unique_ptr<Layer> { throw Error(EIO, "one client too many"); }, clients_));
  layer().flush();  // nothing has failed
}

// What counts the connections to the layer below (nbdkit's filter exitlast) sees the background's
// go when there is nothing more to write.
TEST_F(CacheBackgroundThread, ClosesALayerOfItsOwnWhenNothingIsToBeDone) {
  struct Counted final : public ExclusiveLayer {
    Counted(Layer& layer, Mutex& exclusive, Gate& end)
        : ExclusiveLayer(layer, exclusive), closed(end) {}
    ~Counted() override { closed.pass(); }
    Gate& closed;
  };
  Gate closed;
  closed.open();
  const BackgroundThread thread(
      cache(), std::make_unique<OwnBelow>(
                   [&] { return std::make_unique<Counted>(below, exclusive_, closed); }, clients_));
  layer().flush();
  closed.wait_for_arrivals(1);
  EXPECT_EQ(below.content(block(0)), data_);
}

// Another server takes the disk over while this one waits for its local disk.
TEST_F(CacheBackgroundThread, TheRightToWriteIsLookedAtAfterTheLocalDiskWasWaitedFor) {
  layer().flush();
  std::atomic<bool> is_ours = true;
  store_hook.set([&](StoreOp op) {
    if (op == StoreOp::commit) is_ours = false;
  });
  Gate asked;
  asked.open();
  {
    const BackgroundThread thread(
        cache(),
        std::make_unique<OwnBelow>(
            [this] { return std::make_unique<ExclusiveLayer>(below, exclusive_); }, clients_),
        [&](Layer&) {
          const bool may_write = is_ours;
          asked.pass();
          return may_write;
        });
    asked.wait_for_arrivals(1);
  }
  EXPECT_FALSE(is_ours);
  EXPECT_TRUE(below.calls(Op::pwrite).empty());
}

// Of an export with a name: what was dirty before the first client came waits for it.
TEST_F(CacheBackgroundThread, WritesBackOverAClientsLayerWhileItIsThere) {
  layer().flush();
  BackgroundThread* woken = nullptr;
  LentLayers clients([&] { woken->wake(); });
  BackgroundThread thread(cache(), std::make_unique<ClientsBelow>(clients));
  woken = &thread;
  EXPECT_TRUE(below.calls(Op::pwrite).empty());

  Gate gate;
  stop_at(gate, Op::pwrite);
  CacheLayer client(below, std::shared_ptr<BlockCache>(&cache(), [](BlockCache*) {}), settings);
  client.lend_below(clients);
  gate.wait_for_arrivals(1);
  auto leaving = later([&] { client.finalize(); });
  EXPECT_TRUE(below.content(block(0)) != data_);
  gate.open();
  leaving.get();
  EXPECT_EQ(below.content(block(0)), data_);
  EXPECT_FALSE(clients.with_one([](Layer&) {}));
}

}  // namespace
}  // namespace nbdstack::testing
