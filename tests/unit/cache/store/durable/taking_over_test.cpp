// A cache directory in several lives, over a layer below that tells who it is, or does not.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "filters/cache/store/durable/taking_over.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint32_t kPage = 4096;
constexpr std::uint32_t kBlock = 4 * kPage;
constexpr std::uint64_t kDisk = 64 * std::uint64_t{kBlock};

class TakingOverTest : public ::testing::Test {
 protected:
  TakingOverTest() : below_(kDisk) {
    logged_errors().clear();
    log::set_sink(
        {[](const char* message) { logged_errors().emplace_back(message); }, [](const char*) {}});
  }

  void tell(std::uint64_t term, std::uint64_t since, WriteRight right = WriteRight::held,
            const std::string& id = "a") {
    below_.set_identity(DiskIdentity{
        .id = id, .size_bytes = kDisk, .term = WriterTerm{term, since}, .right = right});
  }
  // A new life. What the earlier one has not committed is not lost here.
  void start(StaleDirty policy = StaleDirty::refuse, const std::string& name = "") {
    stop();
    home_ = std::make_shared<CacheDirectory>(disk_.directory());
    const CacheIdentity wanted{
        .export_name = name, .disk_size_bytes = kDisk, .block_size_bytes = kBlock, .cache_id = ""};
    TakingOver taking(home_, wanted, identity_of(below_), policy);
    store_ = taking.prepare(
        std::make_unique<DurableStore>(std::make_unique<StoreDirectory>(home_), kBlock, kDisk),
        below_, 1);
    recovered_ = store_->recover();
    taken_.clear();
    for (const RecoveredBlock& block : recovered_.blocks) taken_.insert(block.slot);
    taking.record();
  }
  void stop() {
    store_.reset();
    home_.reset();
  }
  // The message of the refusal.
  std::string refused(StaleDirty policy = StaleDirty::refuse, const std::string& name = "") {
    try {
      start(policy, name);
    } catch (const Error& error) {
      stop();
      return error.what();
    }
    ADD_FAILURE() << "it was not refused";
    return {};
  }
  // A block of one byte, as it is below or not.
  void put(Slot block, int value, bool dirty) {
    const std::vector<std::byte> data(kBlock, static_cast<std::byte>(value));
    const bool is_new = taken_.insert(block).second;
    if (is_new) store_->taken(block);
    store_->wrote(block, {block}, store_->write(block, data, 0, is_new ? 0 : 0xf), dirty);
    store_->commit();
  }
  void put_clean(Slot block, int value) {
    below_.fill({std::uint64_t{block} * kBlock, kBlock}, static_cast<std::byte>(value));
    put(block, value, false);
  }
  [[nodiscard]] std::size_t blocks() const { return recovered_.blocks.size(); }
  static bool was_logged(const std::string& part) {
    for (const std::string& line : logged_errors()) {
      if (line.find(part) != std::string::npos) return true;
    }
    return false;
  }

  FakeLayer below_;
  SimulatedDisk disk_;
  std::shared_ptr<CacheDirectory> home_;
  std::unique_ptr<DurableStore> store_;
  Recovered recovered_;
  std::set<Slot> taken_;
};

TEST_F(TakingOverTest, OneWriterKeepsEverything) {
  tell(5, 5);
  start();
  put_clean(0, 1);
  put(1, 2, true);
  tell(6, 5);
  start();
  EXPECT_EQ(blocks(), 2U);
  EXPECT_EQ(home_->identity()->term, 6U);
  EXPECT_TRUE(logged_errors().empty());
  EXPECT_TRUE(below_.calls().empty());  // an identity costs no request
}

TEST_F(TakingOverTest, WhatIsCleanGoesWithAnotherWriter) {
  tell(5, 5);
  start();
  put_clean(0, 1);
  tell(7, 6);
  start();
  EXPECT_EQ(blocks(), 0U);
  EXPECT_TRUE(was_logged(std::to_string(kBlock) + " bytes"));
  EXPECT_EQ(home_->identity()->term, 7U);
  tell(8, 6);
  start();
  EXPECT_EQ(blocks(), 0U);
}

TEST_F(TakingOverTest, WhatIsDirtyIsNeverWrittenOverANewerTerm) {
  tell(5, 5);
  start();
  put_clean(0, 1);
  put(1, 2, true);
  tell(7, 6);
  const std::string message = refused();
  for (const char* part :
       {"16384 bytes", "term 5", "term 6", "nbdstack-cache show", "nbdstack-cache export",
        "nbdstack-cache discard --yes", "cache-dirty=force"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  }
  // A refusal changes nothing.
  EXPECT_EQ(refused(), message);
  start(StaleDirty::force);
  ASSERT_EQ(blocks(), 1U);
  EXPECT_EQ(recovered_.blocks[0].block.value, 1U);
  EXPECT_EQ(recovered_.blocks[0].pages.dirty, 0xfU);
  EXPECT_TRUE(store_->verify(1, 0xf));
  tell(8, 7);
  start();
  EXPECT_EQ(blocks(), 1U);
}

TEST_F(TakingOverTest, DirtyAndCleanPagesOfOneBlockArePartedByForce) {
  tell(5, 5);
  start();
  put_clean(3, 1);
  const std::vector<std::byte> page(kPage, std::byte{9});
  store_->wrote(3, {3}, store_->write(3, page, kPage, 0xf), true);
  store_->zeroed(3, {3}, store_->forget(3, 0x4, 0xf), false);
  store_->commit();
  tell(7, 6);
  start(StaleDirty::force);
  ASSERT_EQ(blocks(), 1U);
  EXPECT_EQ(recovered_.blocks[0].pages, (Pages{.valid = 0x6, .dirty = 0x6, .zero = 0x4}));
  EXPECT_TRUE(store_->verify(3, 0x2));
}

TEST_F(TakingOverTest, DirtyBlocksCanBeDiscarded) {
  tell(5, 5);
  start();
  put(1, 2, true);
  store_->zeros_added({4 * kBlock, kBlock}, false);
  store_->commit();
  tell(7, 6);
  start(StaleDirty::discard);
  EXPECT_EQ(blocks(), 0U);
  EXPECT_TRUE(recovered_.zeros.empty());
  EXPECT_TRUE(was_logged("32768 bytes"));
  tell(9, 7);
  start();
  EXPECT_EQ(blocks(), 0U);
}

TEST_F(TakingOverTest, AnotherDiskIsRefusedWhateverIsForced) {
  tell(5, 5);
  start();
  put(1, 2, true);
  tell(5, 5, WriteRight::held, "b");
  for (const StaleDirty policy : {StaleDirty::refuse, StaleDirty::force, StaleDirty::discard}) {
    const std::string message = refused(policy);
    EXPECT_NE(message.find("16384 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("disk a"), std::string::npos) << message;
  }
  tell(6, 5);
  start();
  EXPECT_EQ(blocks(), 1U);
}

TEST_F(TakingOverTest, NamesDoNotMatterWhereTheDiskIsKnown) {
  tell(5, 5);
  start(StaleDirty::refuse, "typo");
  put(1, 2, true);
  tell(6, 5);
  start(StaleDirty::refuse, "");
  EXPECT_EQ(blocks(), 1U);
}

TEST_F(TakingOverTest, AnExportThatHasStoredNothingLeavesNoTrace) {
  start(StaleDirty::refuse, "typo");
  EXPECT_FALSE(home_->identity().has_value());
  start(StaleDirty::refuse, "");
  put(1, 2, true);
  EXPECT_EQ(home_->identity()->export_name, "");
  EXPECT_NE(refused(StaleDirty::refuse, "typo").find("typo"), std::string::npos);
}

TEST_F(TakingOverTest, AReaderSpoilsOnlyWhatItStores) {
  tell(5, 5);
  start();
  put_clean(0, 1);
  put(1, 2, true);
  tell(5, 5, WriteRight::none);
  start();
  EXPECT_EQ(blocks(), 2U);
  tell(6, 5);
  start();
  EXPECT_EQ(blocks(), 2U);  // the reader has stored nothing
  tell(6, 5, WriteRight::none);
  start();
  put_clean(2, 3);
  tell(7, 5);
  start();
  ASSERT_EQ(blocks(), 1U);  // what is clean may be old; what is dirty was no reader's
  EXPECT_EQ(recovered_.blocks[0].block.value, 1U);
}

TEST_F(TakingOverTest, AReaderOfANewerTermDropsWhatIsClean) {
  tell(5, 5);
  start();
  put_clean(0, 1);
  tell(6, 5, WriteRight::none);
  start();
  EXPECT_EQ(blocks(), 0U);
}

TEST_F(TakingOverTest, WithoutAnIdentityContentShowsThatTheDiskIsTheSame) {
  start();
  put_clean(0, 1);
  put(1, 2, true);
  start();
  EXPECT_EQ(blocks(), 2U);
  EXPECT_TRUE(was_logged("does not tell"));
}

TEST_F(TakingOverTest, WithoutAnIdentityAChangedDiskIsNoticed) {
  start();
  put_clean(0, 1);
  below_.fill({5000, 1}, std::byte{9});
  start();
  EXPECT_EQ(blocks(), 0U);
  put_clean(0, 1);
  put(1, 2, true);
  below_.fill({5000, 1}, std::byte{9});
  EXPECT_NE(refused().find("offset 0"), std::string::npos);
  start(StaleDirty::discard);
  EXPECT_EQ(blocks(), 0U);
}

TEST_F(TakingOverTest, DirtyBlocksThatAreBelowAlreadyAreNoReasonToRefuse) {
  start();
  put_clean(0, 1);
  put(0, 2, true);
  below_.fill({0, kBlock}, std::byte{2});  // written back, and the crash came before it was noted
  start();
  EXPECT_EQ(blocks(), 1U);
}

TEST_F(TakingOverTest, ADamagedCleanBlockSaysNothingAboutTheDisk) {
  start();
  put_clean(0, 1);
  put_clean(1, 2);
  stop();
  disk_.overwrite("data", 100, std::byte{77});
  start();
  EXPECT_EQ(blocks(), 2U);
}

TEST_F(TakingOverTest, ADirectoryOfTheFirstFormatIsHeldAgainstTheDisk) {
  start();
  put_clean(0, 1);
  put(1, 2, true);
  const auto rewrite = [&] {
    stop();
    const std::string old =
        "format=1\nexport=\ndisk_size=1048576\nblock_size=16384\ncache_id=\n"
        "uuid=1\n";
    const auto directory = disk_.directory();
    directory->remove("identity");
    directory->open("identity")->write_at(std::as_bytes(std::span(old)), 0);
  };
  rewrite();
  tell(5, 5);
  start();
  EXPECT_EQ(blocks(), 2U);
  EXPECT_EQ(home_->identity()->disk_id, "a");
  rewrite();
  below_.fill({0, kBlock}, std::byte{5});
  EXPECT_NE(refused().find("not what the disk holds"), std::string::npos);
}

TEST(GrownDisk, IsTheOneThatWasCached) {
  const CacheIdentity found{
      .disk_size_bytes = kDisk, .block_size_bytes = kBlock, .cache_id = "", .disk_id = "a"};
  const auto differs = [&](std::uint64_t size_bytes, const std::string& id,
                           const CacheIdentity& before) {
    CacheIdentity wanted = before;
    wanted.disk_size_bytes = size_bytes;
    wanted.disk_id = id;
    return !difference(before, wanted).empty();
  };
  EXPECT_FALSE(differs(kDisk, "a", found));
  EXPECT_FALSE(differs(kDisk + 1, "a", found));
  EXPECT_FALSE(differs(2 * kDisk, "a", found));
  EXPECT_TRUE(differs(kDisk - kBlock, "a", found));  // it has shrunk
  EXPECT_TRUE(differs(2 * kDisk, "b", found));       // it is another one
  EXPECT_TRUE(differs(2 * kDisk, "", found));        // it does not tell
  CacheIdentity other = found;
  other.disk_size_bytes = kDisk - kPage;  // the last block was shorter
  EXPECT_TRUE(differs(kDisk, "a", other));
  other = found;
  other.disk_id = "";
  EXPECT_TRUE(differs(2 * kDisk, "", other));
}

TEST_F(TakingOverTest, OnlyDirtyBlocksOfUnknownOriginAreNotTakenForThisDisks) {
  start();
  put(1, 2, true);
  tell(5, 5);
  EXPECT_NE(refused().find("nothing in it shows"), std::string::npos);
}

}  // namespace
}  // namespace nbdstack::testing
