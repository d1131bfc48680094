// The last write-back over a layer that refuses to wait because the server stops, with a clock that
// only sleeping moves.
#include "filters/cache/serving/patient_layer.hpp"

#include "tests/unit/cache/engine/cache_fixture.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CachePatience : public CacheTest {
 protected:
  // Like nbdkit's rate filter: a request takes what may pass at this moment, and is refused when it
  // would have to wait for more.
  void limit_rate(std::uint64_t bytes_a_second) {
    below.on_call([this, bytes_a_second](const Call& call) {
      const std::lock_guard lock(mutex_);
      const auto passed = std::chrono::duration<double>(clock.now() - seen_at_).count();
      allowance_ += passed * static_cast<double>(bytes_a_second);
      seen_at_ = clock.now();
      const auto wanted = static_cast<double>(call.range.length);
      const bool fits = wanted <= allowance_;
      allowance_ = fits ? allowance_ - wanted : 0;
      if (!fits) throw Error(ESHUTDOWN, "as the test wants it");
    });
  }
  int write_back(Duration longest = {}) {
    PatientLayer patient(below, clock, clock.now(), longest);
    return code_of([&] { cache().write_back_all(patient); });
  }
  void SetUp() override {
    settings.block_size = 16 * kBlock;
    write(content, 0);
  }

  const std::vector<std::byte> content = pattern(kDiskSize, 1);
  FakeClock clock;

 private:
  std::mutex mutex_;  // protects what follows
  double allowance_ = 0;
  TimePoint seen_at_{};
};

TEST_F(CachePatience, EverythingIsWrittenOverALayerThatLetsLittlePass) {
  for (const std::uint64_t rate : {8U << 20U, 1U << 20U, 20U << 10U}) {
    write(content, 0);
    limit_rate(rate);
    EXPECT_EQ(write_back(), 0) << rate;
    EXPECT_FALSE(cache().has_unwritten());
    EXPECT_EQ(below.content(), content);
    let_all_pass();
  }
}

TEST_F(CachePatience, TellsWhichDiskIsBelow) {
  PatientLayer patient(below, clock, clock.now(), {});
  EXPECT_EQ(identity_of(patient), nullptr);
  const DiskIdentity disk{
      .id = "x", .size_bytes = kDiskSize, .term = WriterTerm{3, 2}, .right = WriteRight::lost};
  below.set_identity(disk);
  ASSERT_NE(identity_of(patient), nullptr);
  EXPECT_EQ(*identity_of(patient), disk);
}

TEST_F(CachePatience, ALayerThatLetsNothingPassIsGivenUp) {
  fail(Op::pwrite, ESHUTDOWN);
  EXPECT_EQ(write_back(), ESHUTDOWN);
  EXPECT_EQ(cache().unwritten_bytes(), kDiskSize);
  EXPECT_GE(clock.slept(), PatientLayer::kSilence / 2);
  EXPECT_LE(clock.slept(), PatientLayer::kSilence * 2);
}

// Its refusals look like those of a layer that makes requests wait, and are final.
TEST_F(CachePatience, ALayerWhoseRightIsLostIsNotWaitedFor) {
  below.set_identity(DiskIdentity{
      .id = "x", .size_bytes = kDiskSize, .term = WriterTerm{3, 2}, .right = WriteRight::lost});
  fail(Op::pwrite, ESHUTDOWN);
  EXPECT_EQ(write_back(), ESHUTDOWN);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(CachePatience, OtherFailuresAreNotWaitedFor) {
  fail(Op::pwrite, EIO);
  EXPECT_EQ(write_back(), EIO);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(CachePatience, TheTimeThatAStopMayTakeBoundsIt) {
  cache().write_back_all(below);
  constexpr std::uint64_t kDirty = 8;  // no two side by side: each goes by itself
  for (std::uint64_t i = 0; i < kDirty; ++i) write(pattern(kBlock, 2), block(32 * i).offset);
  limit_rate(1U << 10U);
  EXPECT_EQ(write_back(seconds(15)), ETIMEDOUT);
  EXPECT_LE(clock.slept(), seconds(40));
  EXPECT_GT(cache().unwritten_bytes(), 0U);
  EXPECT_LT(cache().unwritten_bytes(), kDirty * kBlock);
}

TEST_F(CachePatience, ZerosAndFlushesAreSentAgainToo) {
  layer().zero(kDiskSize, 0, {});
  int refused = 0;
  below.on_call([&](const Call&) {
    if (++refused % 3 != 0) throw Error(ESHUTDOWN, "as the test wants it");
  });
  PatientLayer patient(below, clock, clock.now(), {});
  cache().write_back_all(patient);
  patient.flush();
  EXPECT_FALSE(cache().has_unwritten());
  EXPECT_EQ(below.content(), std::vector<std::byte>(kDiskSize));
}

}  // namespace
}  // namespace nbdstack::testing
