// What `check` calls damaged, and what not.
#include "plugins/s3/command/volume_check.hpp"

#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>

#include "plugins/s3/command/bounded_work.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "tests/unit/s3/volume/volume_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Bytes;
using testing::expect_error;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;

class VolumeCheckTest : public testing::VolumeFixture {
 protected:
  CheckResult check(const VolumeRequest& how = request()) {
    damaged_.clear();
    return check_volume(
        store_, open(how), 4,
        {.damaged = [this](const auto& name, const auto& reason) { damaged_[name] = reason; },
         .progress = {}});
  }
  CheckResult renew(
      ConditionSupport support, std::function<void()> check_writable = [] {}) {
    damaged_.clear();
    return check_volume(
        store_, open(), 4,
        {.damaged = [this](const auto& name, const auto& reason) { damaged_[name] = reason; },
         .progress = {}},
        Renewal{.conditions = {.support = support}, .check_writable = std::move(check_writable)});
  }
  VolumeRequest compressed() {
    VolumeRequest how = request();
    how.compression = Compression::zstd;
    return how;
  }

  std::map<std::string, std::string> damaged_;
};

TEST_F(VolumeCheckTest, EveryObjectOfAGoodVolumeIsReadAndNothingElse) {
  create(3000 * kBlock);
  write(pattern(2500 * kBlock, 1), 0);
  store_.forget_calls();
  const CheckResult result = check();
  EXPECT_EQ(result.objects, 2500U);
  EXPECT_EQ(result.bytes, 2500 * kBlock);
  EXPECT_EQ(result.damaged, 0U);
  EXPECT_EQ(result.foreign.count, 0U);
  EXPECT_EQ(store_.calls(StoreOp::fetch).size(), 2500U + 1);  // and the descriptor
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
  EXPECT_TRUE(store_.calls(StoreOp::remove).empty());
}

TEST_F(VolumeCheckTest, ProgressComesToTheEnd) {
  create(8 * kBlock);
  write(pattern(2 * kBlock, 1), 6 * kBlock);
  std::vector<double> seen;
  check_volume(store_, open(), 2, {.damaged = {}, .progress = [&](const CheckResult& so_far) {
                                     seen.push_back(so_far.position_percent.value());
                                   }});
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_DOUBLE_EQ(seen.back(), 100.0);
}

TEST_F(VolumeCheckTest, ObjectsAreReadInParallel) {
  create(64 * kBlock);
  write(pattern(64 * kBlock, 1), 0);
  const VolumeLayout layout = open();
  std::mutex mutex;
  std::condition_variable changed;
  int reading = 0;
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::fetch) return;
    std::unique_lock lock(mutex);
    ++reading;
    changed.notify_all();
    changed.wait(lock, [&] { return reading >= 4; });
  });
  EXPECT_EQ(check_volume(store_, layout, 4, {.damaged = {}, .progress = {}}).objects, 64U);
}

TEST_F(VolumeCheckTest, AnObjectOfTheWrongLengthIsDamaged) {
  create(8 * kBlock);
  write(pattern(8 * kBlock, 1), 0);
  store_.place(name_of(2), pattern(kBlock - 1, 1));
  store_.place(name_of(5), pattern(kBlock + 1, 1));
  store_.place(name_of(6), {});
  const CheckResult result = check();
  EXPECT_EQ(result.objects, 8U);
  EXPECT_EQ(result.damaged, 3U);
  EXPECT_EQ(result.bytes, 5 * kBlock);
  EXPECT_TRUE(damaged_.contains(name_of(2)) && damaged_.contains(name_of(5)) &&
              damaged_.contains(name_of(6)));
}

TEST_F(VolumeCheckTest, AnObjectThatFailsItsChecksumIsDamaged) {
  create(8 * kBlock);
  write(pattern(8 * kBlock, 1), 0);
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::fetch && call.keys.front() == name_of(3)) {
      throw Error(EIO, name_of(3) + ": the object is corrupted");
    }
  });
  EXPECT_EQ(check().damaged, 1U);
  EXPECT_EQ(damaged_[name_of(3)], name_of(3) + ": the object is corrupted");
}

TEST_F(VolumeCheckTest, EveryByteOfASealedObjectIsVouchedFor) {
  create_encrypted(4 * kBlock);
  write(pattern(4 * kBlock, 1), 0, encrypted());
  const std::size_t length = store_.body_of(name_of(1)).value().size();
  for (const std::size_t index : {std::size_t{0}, std::size_t{40}, length / 2, length - 1}) {
    invert_byte(name_of(1), index);
    EXPECT_EQ(check(encrypted()).damaged, 1U) << index;
    EXPECT_TRUE(damaged_.contains(name_of(1)));
    invert_byte(name_of(1), index);
  }
  EXPECT_EQ(check(encrypted()).damaged, 0U);
}

TEST_F(VolumeCheckTest, AnotherBlocksObjectIsDamagedWhereItIsSealed) {
  create_encrypted(4 * kBlock);
  write(pattern(4 * kBlock, 1), 0, encrypted());
  store_.place(name_of(1), store_.body_of(name_of(2)).value());
  EXPECT_EQ(check(encrypted()).damaged, 1U);
}

TEST_F(VolumeCheckTest, AFrameThatCannotBeDecodedIsDamaged) {
  create(4 * kBlock, compressed());
  write(Bytes(4 * kBlock, std::byte{7}), 0, compressed());
  EXPECT_EQ(check().damaged, 0U);
  Bytes body = store_.body_of(name_of(0)).value();
  body.resize(body.size() - 1);
  store_.place(name_of(0), body);
  EXPECT_EQ(check().damaged, 1U);
}

TEST_F(VolumeCheckTest, AWrongPassphraseDamagesNothing) {
  create_encrypted(kBlock);
  expect_error(EACCES, {"passphrase"}, [&] { check(encrypted("wrong")); });
  expect_error(EINVAL, {"passphrase="}, [&] { check(); });
}

TEST_F(VolumeCheckTest, AServiceThatIsDownDamagesNothing) {
  create(8 * kBlock);
  write(pattern(8 * kBlock, 1), 0);
  const VolumeLayout layout = open();
  store_.on_call([](const StoreCall& call) {
    if (call.op != StoreOp::list) throw Error(EIO, "connection refused");
  });
  expect_error(EIO, {"connection refused"}, [&] {
    check_volume(store_, layout, 4, {.damaged = [](auto&, auto&) { FAIL(); }, .progress = {}});
  });
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::fetch) throw Error(EACCES, "access denied");
  });
  expect_error(EACCES, {"access denied"}, [&] {
    check_volume(store_, layout, 4, {.damaged = [](auto&, auto&) { FAIL(); }, .progress = {}});
  });
}

TEST_F(VolumeCheckTest, AListingThatFailsEndsTheCheck) {
  create(8 * kBlock);
  const VolumeLayout layout = open();
  store_.on_call([](const StoreCall& call) {
    if (call.op == StoreOp::list) throw Error(ETIMEDOUT, "no answer");
  });
  expect_error(ETIMEDOUT, {"no answer"},
               [&] { check_volume(store_, layout, 4, {.damaged = {}, .progress = {}}); });
}

TEST_F(VolumeCheckTest, AnObjectThatWasRemovedMeanwhileIsNotDamaged) {
  create(8 * kBlock);
  write(pattern(8 * kBlock, 1), 0);
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::fetch && call.keys.front() == name_of(3)) store_.drop(name_of(3));
    if (call.op == StoreOp::fetch && call.keys.front() == name_of(4)) {
      store_.drop(name_of(4));
      throw Error(EIO, "it changed while it was read");
    }
  });
  const CheckResult result = check();
  EXPECT_EQ(result.objects, 6U);
  EXPECT_EQ(result.damaged, 0U);
}

TEST_F(VolumeCheckTest, OtherObjectsAreNamedButNotRead) {
  create(2 * kBlock);
  write(pattern(2 * kBlock, 1), 0);
  store_.place(name_of(9), pattern(kBlock, 1));
  store_.place_text("disk/notes.txt", "mine");
  store_.place_text("disk/sub/0000000000000000", "another volume's");
  store_.place_text(lease_object_key("disk"), "{}");
  store_.place_text("disk/nbdstack-probe-0123", "");
  const CheckResult result = check();
  EXPECT_EQ(result.objects, 2U);
  EXPECT_EQ(result.behind_end.examples, std::vector<std::string>{name_of(9)});
  EXPECT_EQ(result.foreign.count, 2U);
  EXPECT_EQ(result.foreign.examples,
            (std::vector<std::string>{"disk/notes.txt", "disk/sub/0000000000000000"}));
}

TEST_F(VolumeCheckTest, OfManyOtherObjectsTheFirstFewAreNamed) {
  create(kBlock);
  for (int i = 0; i < 20; ++i) store_.place_text("disk/x" + std::to_string(i), "");
  const CheckResult result = check();
  EXPECT_EQ(result.foreign.count, 20U);
  EXPECT_EQ(result.foreign.examples.size(), OtherObjects::kExamples_max);
}

TEST_F(VolumeCheckTest, S3backersBlocksAreCheckedWhateverTheirNames) {
  VolumeRequest how = request();
  how.layout = Layout::s3backer;
  how.size_bytes = 64 * kBlock;
  how.object_size = kObjectSize;
  how.hash_prefix = true;
  how.passphrase = "secret";
  write(pattern(64 * kBlock, 1), 0, how);
  EXPECT_EQ(check(how).objects, 64U);
  std::string victim;
  for (const std::string& key : store_.keys()) {
    if (open(how).format->parse_name(key) == BlockNumber{17}) victim = key;
  }
  invert_byte(victim, 20);
  EXPECT_EQ(check(how).damaged, 1U);
  EXPECT_TRUE(damaged_.contains(victim));
}

// --- objects that lack checksums ---

TEST_F(VolumeCheckTest, ObjectsThatLackChecksumsAreCounted) {
  create(8 * kBlock);
  write(pattern(8 * kBlock, 1), 0);
  store_.set_checksum(name_of(1), ChecksumKind::none);
  store_.set_checksum(name_of(2), ChecksumKind::whole);
  store_.set_checksum(name_of(5), ChecksumKind::whole);
  const CheckResult result = check();
  EXPECT_EQ(result.damaged, 0U);
  EXPECT_EQ(result.old.unverified.examples, std::vector<std::string>{name_of(1)});
  EXPECT_EQ(result.old.whole_only.count, 2U);
  EXPECT_EQ(result.old.renewed, 0U);
  EXPECT_EQ(store_.calls(StoreOp::put).size(), 8U + 1) << "nothing was asked to be renewed";
}

TEST_F(VolumeCheckTest, RenewingPutsTheSameAgainWhereItIsStillTheSame) {
  create(8 * kBlock);
  const Bytes content = pattern(8 * kBlock, 1);
  write(content, 0);
  for (const unsigned block : {1U, 2U, 3U, 4U}) {
    store_.set_checksum(name_of(block), ChecksumKind::whole);
  }
  invert_byte(name_of(4), 0);
  store_.on_call([&](const StoreCall& call) {
    if (call.keys.empty()) return;
    if (call.op == StoreOp::fetch && call.keys.front() == name_of(4)) {
      throw Error(EIO, name_of(4) + ": the object is corrupted");
    }
    // Somebody who does not care for leases.
    if (call.op == StoreOp::put && call.keys.front() == name_of(3)) {
      store_.place(name_of(3), pattern(kBlock, 9));
    }
  });
  store_.forget_calls();
  const CheckResult result = renew(ConditionSupport::with_quotes);
  EXPECT_EQ(result.old.whole_only.count, 3U);
  EXPECT_EQ(result.old.renewed, 2U);
  EXPECT_EQ(result.damaged, 1U);
  EXPECT_EQ(store_.calls(StoreOp::put).size(), 3U) << "only those that lack something";
  EXPECT_EQ(store_.body_of(name_of(3)), pattern(kBlock, 9));
  EXPECT_EQ(store_.body_of(name_of(1)),
            Bytes(content.begin() + kBlock, content.begin() + 2 * kBlock));
  store_.on_call({});
  EXPECT_EQ(check().old.whole_only.count, 0U);
}

TEST_F(VolumeCheckTest, RenewingDoesWithoutConditionsWhereThereAreNone) {
  create(2 * kBlock);
  write(pattern(2 * kBlock, 1), 0);
  store_.set_checksum(name_of(1), ChecksumKind::none);
  EXPECT_EQ(renew(ConditionSupport::not_honoured).old.renewed, 1U);
}

TEST_F(VolumeCheckTest, RenewingEndsWithTheRightToWrite) {
  create(2 * kBlock);
  write(pattern(2 * kBlock, 1), 0);
  store_.set_checksum(name_of(1), ChecksumKind::none);
  store_.forget_calls();
  expect_error(ESHUTDOWN, {"lease"}, [&] {
    renew(ConditionSupport::with_quotes, [] { throw Error(ESHUTDOWN, "the lease is lost"); });
  });
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeCheckTest, ObjectsThatAreAlwaysReadWholeNeedNoChecksumsOfPieces) {
  create(4 * kBlock, compressed());
  write(Bytes(2 * kBlock, std::byte{7}), 0, compressed());
  write(pattern(2 * kBlock, 1), 2 * kBlock, compressed());
  for (const unsigned block : {0U, 1U, 2U, 3U}) {
    store_.set_checksum(name_of(block), ChecksumKind::whole);
  }
  EXPECT_EQ(check().old.whole_only.count, 0U);
  store_.set_checksum(name_of(0), ChecksumKind::none);  // a frame, which has one in itself
  store_.set_checksum(name_of(2), ChecksumKind::none);  // did not shrink, so it is stored plain
  EXPECT_EQ(check().old.unverified.count, 1U);
}

// --- the threads behind it ---

TEST(BoundedWorkTest, EveryItemIsWorkedOn) {
  std::atomic<int> sum = 0;
  BoundedWork<int> work(3, [&](int& item) { sum += item; });
  for (int i = 1; i <= 1000; ++i) EXPECT_TRUE(work.give(i));
  work.finish();
  EXPECT_EQ(sum, 500500);
}

TEST(BoundedWorkTest, AFailureEndsItAndIsThrown) {
  std::atomic<int> done = 0;
  BoundedWork<int> work(3, [&](int& item) {
    if (item == 10) throw Error(EIO, "ten");
    ++done;
  });
  int given = 0;
  while (given < 1'000'000 && work.give(given)) ++given;
  EXPECT_LT(given, 1'000'000);
  expect_error(EIO, {"ten"}, [&] { work.finish(); });
}

TEST(BoundedWorkTest, AProducerThatGivesUpWaitsForWhatIsUnderWayOnly) {
  std::promise<void> begun;
  std::promise<void> go_on;
  std::atomic<int> done = 0;
  {
    BoundedWork<int> work(1, [&](int& /*item*/) {
      if (done == 0) {
        begun.set_value();
        go_on.get_future().wait();
      }
      ++done;
    });
    work.give(1);
    begun.get_future().wait();
    work.give(2);
    go_on.set_value();
  }
  EXPECT_GE(done, 1);
}

TEST_F(VolumeCheckTest, AnObjectThatIsRefusedIsNamedAndTheOthersAreRead) {
  create(16 * kBlock);
  write(pattern(16 * kBlock, 1), 0);
  const VolumeLayout layout = open();
  store_.on_call([](const StoreCall& call) {
    if (call.keys.front() == name_of(3)) throw Error(EACCES, "AccessDenied");
  });
  damaged_.clear();
  const CheckResult result = check_volume(
      store_, layout, 1,
      {.damaged = [this](const auto& name, const auto& reason) { damaged_[name] = reason; },
       .progress = {}});
  EXPECT_EQ(result.objects, 16U);
  EXPECT_EQ(result.damaged, 1U);
  EXPECT_EQ(damaged_[name_of(3)], "AccessDenied");
}

TEST_F(VolumeCheckTest, WhereEverythingIsRefusedTheCheckEnds) {
  create(64 * kBlock);
  write(pattern(64 * kBlock, 1), 0);
  const VolumeLayout layout = open();
  store_.on_call([](const StoreCall& call) {
    if (call.op != StoreOp::list) throw Error(EACCES, "AccessDenied");
  });
  expect_error(EACCES, {"AccessDenied"}, [&] {
    check_volume(store_, layout, 1, {.damaged = [](const auto&, const auto&) {}, .progress = {}});
  });
}

}  // namespace
}  // namespace nbdstack
