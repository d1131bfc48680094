// A disk of another size: no byte of what it had before comes back, and none that stays is lost.
#include "plugins/s3/command/volume_resize.hpp"

#include <atomic>

#include "plugins/s3/command/volume_passphrase.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"
#include "tests/unit/s3/volume/volume_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;
using testing::expect_error;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;

Bytes first_of(const Bytes& data, std::size_t length) {
  return {data.begin(), data.begin() + static_cast<std::ptrdiff_t>(length)};
}

class VolumeResizeTest : public testing::VolumeFixture {
 protected:
  ResizeResult resize(std::uint64_t new_size, bool may_shrink = false,
                      std::optional<std::string> passphrase = {}) {
    return resize_volume(store_, *find().descriptor,
                         {.key = "disk",
                          .new_size_bytes = new_size,
                          .may_shrink = may_shrink,
                          .passphrase = std::move(passphrase)},
                         {.requests = 4});
  }
};

TEST_F(VolumeResizeTest, ALargerDiskHasZerosBehindItsOldEnd) {
  create(10 * kBlock);
  const Bytes data = pattern(10 * kBlock, 1);
  write(data, 0);
  EXPECT_EQ(resize(1000 * kBlock).old_size_bytes, 10 * kBlock);
  EXPECT_EQ(open().size_bytes, 1000 * kBlock);
  EXPECT_EQ(read(10 * kBlock, 0), data);
  EXPECT_EQ(read(990 * kBlock, 10 * kBlock), Bytes(990 * kBlock));
  write(data, 500 * kBlock);
  EXPECT_EQ(read(10 * kBlock, 500 * kBlock), data);
}

TEST_F(VolumeResizeTest, ASmallerDiskIsRefusedUnlessItIsMeant) {
  create(10 * kBlock);
  write(pattern(10 * kBlock, 1), 0);
  store_.forget_calls();
  expect_error(EINVAL, {"--force", "40960"}, [&] { resize(5 * kBlock); });
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
  EXPECT_EQ(stored_blocks(), 10U);
}

TEST_F(VolumeResizeTest, ASmallerDiskKeepsItsBeginningOnly) {
  create(3000 * kBlock);
  const Bytes data = pattern(3000 * kBlock, 1);
  write(data, 0);
  EXPECT_EQ(resize(5 * kBlock, true).removed_objects, 2995U);
  EXPECT_EQ(stored_blocks(), 5U);
  EXPECT_EQ(read(5 * kBlock, 0), first_of(data, 5 * kBlock));
  resize(10 * kBlock);
  EXPECT_EQ(read(5 * kBlock, 5 * kBlock), Bytes(5 * kBlock));
}

TEST_F(VolumeResizeTest, WhatTheLastBlockHadBehindTheEndDoesNotComeBack) {
  for (const bool sealed : {false, true}) {
    const VolumeRequest how = sealed ? encrypted() : request();
    drop_everything();
    if (sealed) {
      create_encrypted(4 * kBlock);
    } else {
      create(4 * kBlock);
    }
    const Bytes data = pattern(4 * kBlock, 1);
    write(data, 0, how);
    resize(kBlock + 100, true, how.passphrase);
    EXPECT_EQ(stored_blocks(), 2U);
    resize(4 * kBlock, false, how.passphrase);
    Bytes expected = first_of(data, kBlock + 100);
    expected.resize(4 * kBlock);
    EXPECT_EQ(read(4 * kBlock, 0, how), expected);
  }
}

TEST_F(VolumeResizeTest, ALastBlockOfZerosIsNotRewritten) {
  create(kBlock + 100);
  write(pattern(kBlock + 100, 1), 0);
  store_.forget_calls();
  resize(8 * kBlock);
  for (const StoreCall& call : store_.calls(StoreOp::put)) {
    EXPECT_NE(call.keys.front(), name_of(1));
  }
}

TEST_F(VolumeResizeTest, TheDescriptorGoesFirstWhenItShrinksAndLastWhenItGrows) {
  create(10 * kBlock);
  write(pattern(10 * kBlock, 1), 0);
  std::vector<std::string> order;
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::put && call.op != StoreOp::remove) return;
    for (const std::string& key : call.keys) {
      if (!key.starts_with("disk/nbdstack-probe-")) order.push_back(key);
    }
  });
  resize(9 * kBlock, true);
  EXPECT_EQ(order, (std::vector<std::string>{kDescriptor, name_of(9)}));
  order.clear();
  store_.place(name_of(12), pattern(kBlock, 2));
  resize(20 * kBlock);
  EXPECT_EQ(order, (std::vector<std::string>{name_of(12), kDescriptor}));
}

TEST_F(VolumeResizeTest, AnInterruptedOneHasTheNewSizeAndIsFinishedByTheNext) {
  for (const std::uint64_t next_size : {5 * kBlock, 3000 * kBlock}) {
    drop_everything();
    create(3000 * kBlock);
    const Bytes data = pattern(3000 * kBlock, 1);
    write(data, 0);
    auto count = std::make_shared<std::atomic<int>>(0);
    store_.on_call([=](const StoreCall& call) {
      if (call.op == StoreOp::remove && call.keys.size() > 1 && ++*count > 1) {
        throw Error(ETIMEDOUT, "interrupted");
      }
    });
    expect_error(ETIMEDOUT, {"interrupted"}, [&] { resize(5 * kBlock, true); });
    store_.on_call({});
    EXPECT_EQ(open().size_bytes, 5 * kBlock);
    EXPECT_GT(stored_blocks(), 5U);
    resize(next_size);
    EXPECT_EQ(stored_blocks(), 5U);
    Bytes expected = first_of(data, 5 * kBlock);
    expected.resize(next_size);
    EXPECT_EQ(read(next_size, 0), expected);
  }
}

TEST_F(VolumeResizeTest, GrowingIsNotRecordedWhereClearingFailed) {
  create(10 * kBlock);
  store_.place(name_of(12), pattern(kBlock, 2));
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::remove) throw Error(ETIMEDOUT, "interrupted");
  });
  expect_error(ETIMEDOUT, {"interrupted"}, [&] { resize(20 * kBlock); });
  store_.on_call({});
  EXPECT_EQ(open().size_bytes, 10 * kBlock);
}

TEST_F(VolumeResizeTest, AnEncryptedVolumeTakesItsPassphrase) {
  create_encrypted(4 * kBlock);
  write(pattern(4 * kBlock, 1), 0, encrypted());
  expect_error(EINVAL, {"passphrase="}, [&] { resize(8 * kBlock); });
  expect_error(EACCES, {"passphrase"}, [&] { resize(8 * kBlock, false, "wrong"); });
  EXPECT_EQ(open(encrypted()).size_bytes, 4 * kBlock);
  resize(8 * kBlock, false, "secret");
  EXPECT_EQ(open(encrypted()).size_bytes, 8 * kBlock);
  EXPECT_EQ(read(4 * kBlock, 0, encrypted()), pattern(4 * kBlock, 1));
}

TEST_F(VolumeResizeTest, ImpossibleSizesAreRefused) {
  create(4 * kBlock);
  expect_error(EINVAL, {"size=0"}, [&] { resize(0, true); });
  expect_error(EINVAL, {"not possible"}, [&] { resize(std::uint64_t{1} << 63U); });
  resize((std::uint64_t{1} << 63U) - 1);
  EXPECT_EQ(open().size_bytes, (std::uint64_t{1} << 63U) - 1);
}

TEST_F(VolumeResizeTest, ADescriptorThatHasChangedMeanwhileIsNotOverwritten) {
  create(4 * kBlock);
  const StoredDescriptor stored = *find().descriptor;
  resize(6 * kBlock);
  expect_error(EBUSY, {kDescriptor, "somebody else"}, [&] {
    resize_volume(store_, stored, {.key = "disk", .new_size_bytes = 8 * kBlock}, {.requests = 1});
  });
  EXPECT_EQ(open().size_bytes, 6 * kBlock);
}

TEST_F(VolumeResizeTest, WhoHasLostTheLeaseChangesNothing) {
  create(4 * kBlock);
  write(pattern(4 * kBlock, 1), 0);
  const ChangeOptions lost{.requests = 1, .check_writable = [] { throw Error(ESHUTDOWN, "lost"); }};
  for (const std::uint64_t size : {2 * kBlock, 8 * kBlock}) {
    expect_error(ESHUTDOWN, {"lost"}, [&] {
      resize_volume(store_, *find().descriptor,
                    {.key = "disk", .new_size_bytes = size, .may_shrink = true}, lost);
    });
  }
  EXPECT_EQ(open().size_bytes, 4 * kBlock);
  EXPECT_EQ(stored_blocks(), 4U);
}

// --- passphrase ---

class PassphraseTest : public VolumeResizeTest {
 protected:
  void change(const std::string& from, const std::string& to) {
    change_passphrase(store_, *find().descriptor,
                      {.key = "disk",
                       .old_passphrase = from,
                       .new_passphrase = to,
                       .cost = testing::kCheapScrypt});
  }
};

TEST_F(PassphraseTest, TheNewOneOpensAndTheOldOneDoesNotAndNoBlockIsWritten) {
  create_encrypted(4 * kBlock);
  const Bytes data = pattern(4 * kBlock, 1);
  write(data, 0, encrypted());
  store_.forget_calls();
  change("secret", "another");
  for (const StoreCall& call : store_.calls(StoreOp::put)) {
    EXPECT_FALSE(ObjectNames("disk").parse_block(call.keys.front()).has_value());
  }
  expect_error(EACCES, {"passphrase"}, [&] { open(encrypted()); });
  EXPECT_EQ(read(4 * kBlock, 0, encrypted("another")), data);
}

TEST_F(PassphraseTest, AWrongOneAnEmptyOneAndAnUnencryptedVolumeAreRefused) {
  create_encrypted(4 * kBlock);
  expect_error(EACCES, {"passphrase"}, [&] { change("wrong", "another"); });
  expect_error(EINVAL, {"passphrase"}, [&] { change("secret", ""); });
  EXPECT_EQ(open(encrypted()).size_bytes, 4 * kBlock);
  store_.drop(kDescriptor);
  create(4 * kBlock);
  expect_error(EINVAL, {"not encrypted"}, [&] { change("secret", "another"); });
}

TEST_F(PassphraseTest, OfTwoChangesAtOnceOneIsTold) {
  create_encrypted(4 * kBlock);
  const StoredDescriptor stored = *find().descriptor;
  change("secret", "first");
  expect_error(EBUSY, {kDescriptor}, [&] {
    change_passphrase(store_, stored,
                      {.key = "disk",
                       .old_passphrase = "secret",
                       .new_passphrase = "second",
                       .cost = testing::kCheapScrypt});
  });
}

}  // namespace
}  // namespace nbdstack
