// What one owner of a volume knows of its blocks by the word of the one before, and when that word
// is not taken.
#include "plugins/s3/blocks/block_memory.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack {
namespace {

using testing::MemoryStore;
using testing::StoreCall;
using testing::StoreOp;

const std::string kBlockRecord = "disk/nbdstack-blocks";
const KnownBlocks kSomeBlocks{{{0, 5}, true}, {{5, 3}, false}};

class BlockMemoryTest : public ::testing::Test {
 protected:
  BlockMemory memory(const std::string& id = "id", std::uint64_t block_count = 8) {
    return {{.place = "bucket b", .key = "disk", .id = id, .block_count = block_count}, processes_};
  }
  static std::optional<SeenLease> lease_of(
      const std::string& owner, LeaseRecord::State state = LeaseRecord::State::released) {
    SeenLease lease;
    lease.record.emplace();
    lease.record->owner = owner;
    lease.record->state = state;
    return lease;
  }
  void remember(BlockMemory& memory, const std::string& owner,
                const KnownBlocks& blocks = kSomeBlocks) {
    memory.remember(store_, {.support = ConditionSupport::with_quotes}, owner, blocks);
  }
  void remember(const std::string& owner, const KnownBlocks& blocks = kSomeBlocks) {
    BlockMemory one = memory();
    one.recall(store_, std::nullopt);
    remember(one, owner, blocks);
  }
  KnownBlocks recall(const std::optional<SeenLease>& predecessor) {
    return memory().recall(store_, predecessor);
  }
  void begin_unowned() {
    BlockMemory one = memory();
    one.begin_unowned(store_);
  }

  MemoryStore store_;
  testing::FakeProcesses processes_{"host", 4711};
};

TEST_F(BlockMemoryTest, TheNextOwnerKnowsWhatTheLastOneKnew) {
  remember("a");
  store_.forget_calls();
  EXPECT_EQ(recall(lease_of("a")), kSomeBlocks);
  EXPECT_EQ(store_.calls(), (std::vector<StoreCall>{{StoreOp::fetch, {kBlockRecord}}}))
      << "one request";
}

TEST_F(BlockMemoryTest, TheEndIsOneRequestToo) {
  remember("a");
  BlockMemory next = memory();
  next.recall(store_, lease_of("a"));
  store_.forget_calls();
  remember(next, "b", {});
  EXPECT_EQ(store_.calls(), (std::vector<StoreCall>{{StoreOp::put, {kBlockRecord}}}));
  EXPECT_EQ(recall(lease_of("b")), KnownBlocks());
}

TEST_F(BlockMemoryTest, WhoDoesNotFollowTheOneWhoRecordedKnowsNothing) {
  remember("a");
  EXPECT_EQ(recall(std::nullopt), KnownBlocks()) << "the lease was removed";
  EXPECT_EQ(recall(lease_of("b")), KnownBlocks()) << "somebody was the owner in between";
  EXPECT_EQ(recall(lease_of("a", LeaseRecord::State::held)), KnownBlocks()) << "a has crashed";
  SeenLease not_understood;
  EXPECT_EQ(recall(not_understood), KnownBlocks());
}

TEST_F(BlockMemoryTest, TheRecordOfAnotherVolumeOrSizeIsNotBelieved) {
  remember("a");
  EXPECT_EQ(memory("another").recall(store_, lease_of("a")), KnownBlocks());
  EXPECT_EQ(memory("id", 9).recall(store_, lease_of("a")), KnownBlocks());
}

TEST_F(BlockMemoryTest, ADamagedRecordIsNotBelievedAndReplaced) {
  store_.place_text(kBlockRecord, "{}\n what is this");
  BlockMemory one = memory();
  EXPECT_EQ(one.recall(store_, lease_of("a")), KnownBlocks());
  remember(one, "b");
  EXPECT_EQ(recall(lease_of("b")), kSomeBlocks);
}

TEST_F(BlockMemoryTest, AStoreThatFailsTellsNothingAndEndsNothing) {
  remember("a");
  store_.on_call([](const StoreCall& /*call*/) { throw Error(EIO, "down"); });
  BlockMemory one = memory();
  EXPECT_EQ(one.recall(store_, lease_of("a")), KnownBlocks());
  remember(one, "b");
}

TEST_F(BlockMemoryTest, AnOwnerThatCouldNotReadReplacesWhatHeDidNotSee) {
  remember("a");
  BlockMemory one = memory();
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::fetch) throw Error(EIO, "down");
  });
  one.recall(store_, lease_of("a"));
  store_.on_call({});
  remember(one, "b", {});
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
  EXPECT_EQ(recall(lease_of("b")), KnownBlocks());
}

// --- Servers without a lease ---

TEST_F(BlockMemoryTest, WhoWritesWithoutALeaseEndsTheWordOfTheOwner) {
  remember("a");
  begin_unowned();
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
}

TEST_F(BlockMemoryTest, WhoWritesWithoutALeaseBesideAnOwnerKeepsHimFromRecording) {
  BlockMemory owner = memory();
  owner.recall(store_, std::nullopt);
  begin_unowned();
  remember(owner, "a");
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
}

TEST_F(BlockMemoryTest, WhoHasWrittenWithoutALeaseBesideAnOwnerKeepsHimFromRecordingToo) {
  BlockMemory owner = memory();
  owner.recall(store_, std::nullopt);
  BlockMemory unowned = memory();
  unowned.begin_unowned(store_);
  unowned.end_unowned(store_);
  remember(owner, "a");
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
}

TEST_F(BlockMemoryTest, AMarkStaysUntilItsServerHasEnded) {
  BlockMemory unowned = memory();
  unowned.begin_unowned(store_);
  remember("a");
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks()) << "it may have written after a";
  unowned.end_unowned(store_);
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
  remember("b");
  EXPECT_EQ(recall(lease_of("b")), kSomeBlocks);
}

TEST_F(BlockMemoryTest, AMarkWhoseServerHasEndedOnThisMachineIsReplaced) {
  begin_unowned();
  processes_.gone.push_back(processes_.process);
  remember("a");
  EXPECT_EQ(recall(lease_of("a")), kSomeBlocks);
}

TEST_F(BlockMemoryTest, AnOwnerThatIsLateReplacesNobodysMark) {
  BlockMemory owner = memory();
  owner.recall(store_, std::nullopt);
  store_.on_call([this, first = true](const StoreCall& call) mutable {
    if (call.op != StoreOp::put || !std::exchange(first, false)) return;
    const auto mark = BlockRecord{.state = BlockRecord::State::unowned,
                                  .volume_id = "id",
                                  .owner = "u",
                                  .process = processes_.process,
                                  .block_count = 8}
                          .to_bytes();
    store_.place(kBlockRecord, *mark);
  });
  remember(owner, "a");
  store_.on_call({});
  EXPECT_EQ(recall(lease_of("a")), KnownBlocks());
}

}  // namespace
}  // namespace nbdstack
