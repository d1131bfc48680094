// Each invariant of the digests, and of the layer's borders, ends the process once it is broken.
#include "filters/md5/digest_table.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {

NBDSTACK_OPEN_MEMBER(EntriesOfDigestTable, &DigestTable::entries_);
NBDSTACK_OPEN_MEMBER(ReadAgainOfMd5, &Md5Layer::read_again);
NBDSTACK_OPEN_MEMBER(ReadBelowOfMd5, &Md5Layer::read_below);
NBDSTACK_OPEN_MEMBER(WriteRunOfMd5, &Md5Layer::write_run);

namespace {

class DigestTableInvariants : public ::testing::Test {
 protected:
  static constexpr BlockNumber kChanged{3};

  auto& entry() { return (table.*private_member(EntriesOfDigestTable())).at(kChanged); }
  void begin(std::optional<DigestTable::Change>& to_begin) {
    to_begin.emplace(table, std::vector<PlannedBlock>{
                                {.block = kChanged, .length = 4096, .before = std::nullopt}});
  }

  FakeClock clock;
  DigestTable table{{}, clock};
  std::optional<DigestTable::Reservation> reservation{table.reserve(kChanged, 1)};
  std::optional<DigestTable::Change> change;
};

TEST_F(DigestTableInvariants, AnEntryIsNotReleasedMoreOftenThanItIsPinned) {
  entry().pins = 0;
  EXPECT_BROKEN(reservation.reset(), "released.pins > 0; entry->first.value = 3");
  entry().pins = 1;
}

TEST_F(DigestTableInvariants, ABlockHasOneChangeAtATime) {
  begin(change);
  std::optional<DigestTable::Change> second;
  EXPECT_BROKEN(begin(second), "entry.state != State::writing; planned.block.value = 3");
}

TEST_F(DigestTableInvariants, AChangeEndsInTheStateInWhichItBegan) {
  begin(change);
  const auto writing = entry().state;
  entry().state = {};
  EXPECT_BROKEN(change.reset(), "entry.state == State::writing && entry.pins > 0");
  entry().state = writing;
  const auto pins = std::exchange(entry().pins, 0);
  EXPECT_BROKEN(change.reset(), "entry.state == State::writing && entry.pins > 0");
  entry().pins = pins;
}

class Md5Invariants : public Md5Test {
 protected:
  void SetUp() override { open(); }

  // Reads a block again into a buffer of another length, with the argument that stands for the
  // caller's ownership of its range.
  template <typename Result, typename Owner>
  void read_again(Result (Md5Layer::*function)(BlockNumber, std::span<std::byte>, Owner),
                  std::size_t length) {
    std::vector<std::byte> data(length);
    (layer.get()->*function)({1}, data, Owner{});
  }
};

TEST_F(Md5Invariants, ARequestBehindTheEndOfTheDisk) {
  std::vector<std::byte> data(2);
  EXPECT_BROKEN(layer->pread(data, kDiskSize - 1), "range.length <= size_bytes - range.offset");
  EXPECT_BROKEN(layer->pwrite(data, kDiskSize - 1, Durability::on_flush), "range.length <=");
  EXPECT_BROKEN(layer->zero(kBlock, kDiskSize, {}), "range.length <=");
  EXPECT_BROKEN(layer->trim(kBlock, kDiskSize + 1, Durability::on_flush), "range.offset <=");
}

TEST_F(Md5Invariants, ARequestBelowBehindTheEndOfTheDisk) {
  std::vector<std::byte> data(2);
  EXPECT_BROKEN((layer.get()->*private_member(ReadBelowOfMd5()))(data, kDiskSize - 1),
                "range.length <=");
  EXPECT_BROKEN(
      (layer.get()->*private_member(WriteRunOfMd5()))(data, kDiskSize - 1, Durability::on_flush),
      "range.length <=");
}

TEST_F(Md5Invariants, ABlockIsReadAgainAsAWhole) {
  EXPECT_BROKEN(read_again(private_member(ReadAgainOfMd5()), kBlock - 1),
                "block.value, data.size.. = 1, ");
}

}  // namespace
}  // namespace nbdstack::testing
