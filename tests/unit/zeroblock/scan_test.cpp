// The scan over the extents below, on the connections of clients.
#include "common/block/extent_scan.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <optional>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A disk as long as one wants, without content; at most `most_bytes` of it are told in an answer.
class VastLayer final : public Layer {
 public:
  VastLayer(std::uint64_t size_bytes, std::uint64_t most_bytes) : most_bytes_(most_bytes) {
    traits_.size_bytes = size_bytes;
    traits_.can_extents = true;
  }

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> /*buffer*/, std::uint64_t /*offset*/) override {}
  void pwrite(std::span<const std::byte> /*buffer*/, std::uint64_t /*offset*/,
              Durability /*durability*/) override {}
  void flush() override {}
  void zero(std::uint64_t /*length*/, std::uint64_t /*offset*/,
            const ZeroOptions& /*options*/) override {}
  void trim(std::uint64_t /*length*/, std::uint64_t /*offset*/,
            Durability /*durability*/) override {}
  void cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool /*only_one*/,
               ExtentList& extents) override {
    ++questions;
    extents.append({offset, std::min(length, most_bytes_)}, kHole);
  }

  std::size_t questions = 0;

 private:
  LayerTraits traits_;
  const std::uint64_t most_bytes_;
};

class ExtentScanTest : public ZeroBlockTest {
 protected:
  void SetUp() override {
    ZeroBlockTest::SetUp();
    ExtentList told;
    told.append(blocks(0, 3), kData);
    told.append(blocks(3, 4), kHole);
    told.append(blocks(7, 2), {.hole = true, .zero = false});
    told.append({9 * kBlock, kDiskSize - 9 * kBlock}, kStoredZeros);
    below.set_extents(told);
  }
  void walk() { walk_all(below, shared->map); }
  // What a client's connection stands on, among others.
  FakeLayer other{kDiskSize};
};

TEST_F(ExtentScanTest, FillsTheMap) {
  walk();
  EXPECT_THAT(known({0, kDiskSize}),
              ElementsAre(Extent{blocks(0, 3), kData}, Extent{blocks(3, 4), kHole},
                          Extent{{9 * kBlock, kDiskSize - 9 * kBlock}, kStoredZeros}));
}

TEST_F(ExtentScanTest, LeavesWhatIsKnownAlready) {
  write(pattern(kBlock, 1), 4 * kBlock);
  make_zeros(blocks(1));
  // What has passed is older than the question; the fake layer tells what it was told to tell.
  walk();
  EXPECT_TRUE(knows_zeros(blocks(1)));
}

TEST_F(ExtentScanTest, AFailureLeavesWhatWasLearntAndHarmsNothing) {
  fail_next(Op::extents);
  EXPECT_EQ(error_of([&] { walk(); }), EIO);
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
  EXPECT_EQ(read(blocks(3)), Bytes(kBlock, std::byte{7}));
  EXPECT_EQ(extents(blocks(3)).front().type, kHole);
}

// --- The thread ---

TEST_F(ExtentScanTest, ConnectionsAreAskedInTheBackground) {
  layer.reset();
  shared->start_scan();
  const ZeroBlockLayer connection(below, shared);
  while (!knows_zeros(blocks(3))) std::this_thread::yield();
}

TEST_F(ExtentScanTest, LayersThatCannotTellAreNotAsked) {
  below.change_traits().can_extents = false;
  open();
  shared->start_scan();
  shared->scan->stop();
  EXPECT_THAT(below.calls(), IsEmpty());
}

TEST_F(ExtentScanTest, AFailureEndsItForGood) {
  below.on_call([](const Call& call) {
    if (call.op == Op::extents) throw Error(EIO, "told to fail");
  });
  shared->start_scan();
  shared->scan->wait();
  const ZeroBlockLayer another(other, shared);
  shared->scan->stop();
  EXPECT_THAT(other.calls(), IsEmpty());
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
  EXPECT_EQ(read(blocks(3)), Bytes(kBlock, std::byte{7}));
}

TEST_F(ExtentScanTest, StoppingIsFinal) {
  layer.reset();
  shared->start_scan();
  shared->scan->stop();
  const ZeroBlockLayer connection(below, shared);
  EXPECT_THAT(below.calls(), IsEmpty());
}

// A client that leaves while it is being asked.
class LeavingClientTest : public ExtentScanTest {
 protected:
  void SetUp() override {
    ExtentScanTest::SetUp();
    start_anew();
  }
  // `failure`: what the client's question comes to in the end.
  void start_anew(int failure = 0, bool server_stops = false) {
    leaving.reset();
    open();
    layer.reset();
    other.forget_calls();
    gate = std::make_unique<Gate>();
    below.on_call([this, failure](const Call& call) {
      if (call.op != Op::extents) return;
      gate->pass();
      if (failure != 0) throw Error(failure, "told to hurry");
    });
    leaving.emplace(below, &shared->clients);
    shared->start_scan([server_stops] { return server_stops; });
    gate->wait_for_arrivals(1);
  }
  void leave() {
    std::thread thread([&] { leaving->take_back(); });
    while (leaving->layer()->with([](Layer&) {})) std::this_thread::yield();
    gate->open();
    thread.join();
  }

  std::unique_ptr<Gate> gate;
  std::optional<Loan> leaving;
};

// The next client's turn, unless the server stops, which is why it was given up then.
TEST_F(LeavingClientTest, AQuestionThatWasGivenUpIsAskedAgainUnlessTheServerStops) {
  leave();
  for (const bool server_stops : {false, true}) {
    start_anew(ESHUTDOWN, server_stops);
    const Loan staying(other, &shared->clients);
    leave();
    shared->scan->wait();
    EXPECT_EQ(other.calls(Op::extents).size(), server_stops ? 0 : 1);
  }
}

TEST_F(LeavingClientTest, WaitsForTheQuestionUnderWay) {
  leave();
  shared->scan->wait();
  EXPECT_EQ(below.calls(Op::extents).size(), 1);
}

TEST_F(LeavingClientTest, TheScanGoesOnWithTheNextToCome) {
  leave();
  ExtentList told;
  told.append({0, kDiskSize}, kHole);
  other.set_extents(told);
  start_anew(ESHUTDOWN);
  leave();
  const Loan staying(other, &shared->clients);
  shared->scan->wait();
  EXPECT_TRUE(knows_zeros({0, kDiskSize}));
}

// --- Vast disks ---

constexpr std::uint64_t kLargest = (1ULL << 63U) - 1;

TEST_F(ExtentScanTest, ALargestDiskThatIsToldInFewAnswersIsKnown) {
  VastLayer vast(kLargest, kLargest);
  ZeroMap map(BlockGeometry(kLargest, kBlock));
  walk_all(vast, map);
  EXPECT_TRUE(map.is_hole({0, kLargest}));
  EXPECT_EQ(map.runs(), 1);
}

TEST_F(ExtentScanTest, ALargestDiskThatIsToldInManyAnswersIsGivenUpAtSomePoint) {
  VastLayer vast(kLargest, 1ULL << 31U);
  const auto state = std::make_shared<ZeroBlockState>(vast.traits(), kBlock);
  const ZeroBlockLayer connection(vast, state);
  state->start_scan();
  state->scan->wait();
  EXPECT_EQ(vast.questions, ExtentScan::kQueriesMax);
  EXPECT_TRUE(state->map.is_hole({0, ExtentScan::kQueriesMax << 31U}));
}

TEST_F(ExtentScanTest, AnEmptyAnswerIsAFailureAndNoEndlessLoop) {
  VastLayer vast(kLargest, 0);
  ZeroMap map(BlockGeometry(kLargest, kBlock));
  EXPECT_EQ(error_of([&] { walk_all(vast, map); }), EIO);
}

}  // namespace
}  // namespace nbdstack::testing
