// A put that was to create an object, was not answered, and comes after the block was removed or
// zeroed: it must not bring the old bytes back, however late it comes and without anybody waiting.
#include <gtest/gtest.h>

#include "plugins/s3/layout/s3backer/s3backer_format.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/held_store.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::disk_object;
using testing::expect_error;
using testing::FakeClock;
using testing::HeldStore;
using testing::kObject;
using testing::LogOfErrors;
using Bytes = HeldStore::Bytes;

const Bytes kZeros(kObject);

const BlockGeometry kGeometry(8 * kObject, kObject);

std::shared_ptr<const BlockFormat> format_without_zeros() {
  return std::make_shared<S3backerFormat>(S3backerNames("disk/", false), kGeometry,
                                          S3backerCoding());
}

class LateCreationTest : public ::testing::Test {
 protected:
  std::unique_ptr<Volume> make(const std::shared_ptr<const BlockFormat>& format) {
    key_ = format->name_of({0});
    return std::make_unique<Volume>(
        store_, format, kGeometry,
        VolumeOptions{.connections = 1,
                      .is_owner = [] { return true; },
                      .guard = {.conditions = {.support = ConditionSupport::with_quotes,
                                               .of_removals = RemovalState::kept,
                                               .etags_are_md5 = true},
                                .bound = 60s,
                                .clock = &clock_}});
  }
  void write(std::byte value) { volume_->pwrite(Bytes(kObject, value), 0, Durability::on_flush); }
  void write_unanswered(std::byte value) {
    store_.hold_changes(1);
    expect_error(ETIMEDOUT, {}, [&] { write(value); });
  }
  void trim() { volume_->trim(2 * kObject, 0, Durability::on_flush); }
  Bytes read() {
    Bytes data(kObject, std::byte{0xee});
    volume_->pread(data, 0);
    return data;
  }
  void expect_zeros_for_good() {
    EXPECT_EQ(read(), kZeros);
    store_.release_changes();
    EXPECT_EQ(read(), kZeros);
    EXPECT_EQ(store_.body_of(key_).value_or(kZeros), kZeros) << "another life reads it";
    EXPECT_EQ(clock_.slept(), 0s);
  }

  LogOfErrors log_;
  FakeClock clock_;
  HeldStore store_;
  std::string key_;
  std::unique_ptr<Volume> volume_ = make(testing::plain_format("disk", kObject));
};

TEST_F(LateCreationTest, DoesNothingAfterATrimOfWhatWasStoredAtTheSecondAttempt) {
  write_unanswered(std::byte{1});
  write(std::byte{1});
  trim();
  expect_zeros_for_good();
}

TEST_F(LateCreationTest, DoesNothingAfterATrimOfWhatIsNotStored) {
  write_unanswered(std::byte{1});
  EXPECT_EQ(read(), kZeros);
  trim();
  expect_zeros_for_good();
}

TEST_F(LateCreationTest, DoesNothingAfterAZeroOfWhatIsNotStored) {
  write_unanswered(std::byte{1});
  EXPECT_EQ(read(), kZeros);
  volume_->zero(kObject, 0, {});
  expect_zeros_for_good();
}

TEST_F(LateCreationTest, DoesNothingAfterAPartWasZeroed) {
  write_unanswered(std::byte{1});
  volume_->zero(kObject / 2, 0, {});
  EXPECT_EQ(read(), kZeros);
  expect_zeros_for_good();
}

TEST_F(LateCreationTest, DoesNothingAfterZerosWereWrittenWhereZerosAreNotStored) {
  volume_ = make(format_without_zeros());
  write_unanswered(std::byte{1});
  EXPECT_EQ(read(), kZeros);
  write(std::byte{0});
  expect_zeros_for_good();
}

TEST_F(LateCreationTest, WhatIsWrittenAfterTheZerosStays) {
  write_unanswered(std::byte{1});
  trim();
  volume_->pwrite(Bytes(100, std::byte{2}), 0, Durability::on_flush);
  store_.release_changes();
  Bytes expected(kObject);
  std::fill_n(expected.begin(), 100, std::byte{2});
  EXPECT_EQ(read(), expected);
}

TEST_F(LateCreationTest, OnceItCannotComeAnyMoreATrimRemoves) {
  write_unanswered(std::byte{1});
  trim();
  EXPECT_EQ(store_.keys(), std::vector<std::string>{disk_object(0)});
  clock_.advance(ChangeGuard::by_any_clock(60s) + OpenChanges::kRemembered + 1ms);
  trim();
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(LateCreationTest, OnlyTheBlockThatMayComeGetsAnObjectOfZeros) {
  volume_->pwrite(Bytes(kObject, std::byte{3}), kObject, Durability::on_flush);
  write_unanswered(std::byte{1});
  trim();
  EXPECT_EQ(store_.keys(), std::vector<std::string>{disk_object(0)});
  volume_->pwrite(Bytes(kObject, std::byte{4}), kObject, Durability::on_flush);
}

}  // namespace
}  // namespace nbdstack
