// Dirty blocks whose content was damaged while no server ran: they are errors until somebody gets
// rid of them, and nobody else is kept waiting by them.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheDamage : public CacheTest {
 protected:
  static constexpr Slot kSlots = 4;

  // A cache that is full of dirty blocks, all of them damaged.
  std::unique_ptr<SlotStore> make_store() override {
    auto store = std::make_unique<HookedStore>(
        std::make_unique<TemporaryStore>(directory, settings.block_size), store_hook, true);
    Recovered recovered;
    recovered.slots = kSlots;
    for (Slot slot = 0; slot < kSlots; ++slot) {
      recovered.blocks.push_back({slot, BlockNumber{slot}, {.valid = 1, .dirty = 1}});
    }
    store->pretend(recovered);
    return store;
  }
  void SetUp() override {
    settings.max_size_bytes = kSlots * kBlock;
    settings.cache_on_read = [] { return true; };
    store_hook.set([](StoreOp op) {
      if (op == StoreOp::verify) throw Error(EIO, "as the test wants it");
    });
    below.fill({0, kDiskSize}, std::byte{7});
  }
  int flush_code() {
    return code_of([&] { layer().flush(); });
  }
  void find_all() {
    for (Slot slot = 0; slot < kSlots; ++slot) {
      EXPECT_EQ(code_of([&] { read(block(slot)); }), EIO);
    }
  }
};

TEST_F(CacheDamage, OtherBlocksAreServedAroundTheCache) {
  for (const bool found : {false, true}) {
    if (found) find_all();
    const unsigned seed = found ? 2 : 1;
    write(pattern(kBlock, seed), block(20).offset);
    EXPECT_EQ(below.content(block(20)), pattern(kBlock, seed));
    write(pattern(100, seed), block(21).offset + 10);
    layer().zero(kBlock / 2, block(22).offset, {});
    EXPECT_EQ(read(block(20)), pattern(kBlock, seed));
    EXPECT_EQ(below.content({block(21).offset + 10, 100}), pattern(100, seed));
    EXPECT_EQ(read({block(22).offset, 1}), std::vector<std::byte>(1));
  }
}

TEST_F(CacheDamage, AFlushFailsAndNamesTheBlockAndTheFileUntilAllIsHealed) {
  try {
    layer().flush();
    FAIL() << "a flush of data that is lost";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    const std::string text = error.what();
    EXPECT_NE(text.find("4 blocks"), std::string::npos) << text;
    EXPECT_NE(text.find("at offset 0"), std::string::npos) << text;
    EXPECT_NE(text.find("the cache's temporary file"), std::string::npos) << text;
  }
  write(pattern(kBlock, 1), block(0).offset);
  EXPECT_EQ(flush_code(), EIO);
  layer().zero(kBlock, block(1).offset, {});
  EXPECT_EQ(flush_code(), EIO);
  trim(block(2));
  EXPECT_EQ(flush_code(), EIO);
  write(pattern(kBlock, 3), block(3).offset);
  EXPECT_EQ(flush_code(), 0);
  EXPECT_EQ(read(block(0)), pattern(kBlock, 1));
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
  EXPECT_EQ(below.content(block(1, 2)), std::vector<std::byte>(2 * kBlock));
  EXPECT_EQ(below.content(block(3)), pattern(kBlock, 3));
}

TEST_F(CacheDamage, TheRoomIsUsedAgainWhenAllIsHealed) {
  find_all();
  for (Slot slot = 0; slot < kSlots; ++slot) layer().zero(kBlock, block(slot).offset, {});
  layer().flush();
  write(pattern(kBlock, 5), block(30).offset);
  EXPECT_EQ(cache().cached_bytes(), kBlock);
  EXPECT_TRUE(cache().has_unwritten());
}

TEST_F(CacheDamage, AFlushThatIsForTheDirectoryOnlySaysItToo) {
  settings.flush = FlushTo::local;
  find_all();
  EXPECT_EQ(flush_code(), EIO);
  for (Slot slot = 0; slot < kSlots; ++slot) write(pattern(kBlock, slot), block(slot).offset);
  EXPECT_EQ(flush_code(), 0);
}

TEST_F(CacheDamage, TheLastClientMayLeaveAndNothingCountsAsUnwritten) {
  find_all();
  EXPECT_EQ(code_of([&] { layer().finalize(); }), 0);
  EXPECT_FALSE(cache().has_unwritten());
}

}  // namespace
}  // namespace nbdstack::testing
