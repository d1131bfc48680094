// What is taken of a volume is given back, however its owner ends.
#include "plugins/s3/serving/volume_ownership.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "common/sync/boottime_clock.hpp"
#include "common/sync/system_clock.hpp"
#include "plugins/s3/volume/volume_identity.hpp"

namespace nbdstack {
namespace {

class VolumeOwnershipTest : public ::testing::Test {
 protected:
  VolumeOwnershipTest() { std::filesystem::create_directory(directory_ + "/disk"); }
  ~VolumeOwnershipTest() override { std::filesystem::remove_all(directory_); }

  static std::string make_directory() {
    std::string path = ::testing::TempDir() + "volume-ownership-XXXXXX";
    return ::mkdtemp(path.data());
  }

  [[nodiscard]] std::unique_ptr<VolumeOwnership> make(Ownership how = Ownership::automatic) {
    return std::make_unique<VolumeOwnership>(
        LeaseSettings{.volume = "the volume", .volume_key = "vol", .ownership = how}, host_);
  }

  // Nothing if there is no lease object.
  [[nodiscard]] std::optional<LeaseRecord::State> stored_state() const {
    const auto seen = look_up_lease(*factory_.make({.clock = host_.clock}), "vol");
    return seen.has_value() ? std::optional(seen->record->state) : std::nullopt;
  }

  const std::string directory_ = make_directory();
  SystemClock clock_;
  BoottimeClock boottime_clock_;
  LocalProcesses processes_;
  StoreFactory factory_{{.bucket = "disk", .endpoint_url = "file://" + directory_},
                        Environment::of_process()};
  Host host_{.stores = factory_,
             .clock = clock_,
             .boottime_clock = boottime_clock_,
             .processes = processes_};
};

TEST_F(VolumeOwnershipTest, OneThatIsKeptIsHeldUntilItIsGivenBack) {
  const auto first = make();
  first->take_lease();
  first->keep();
  EXPECT_TRUE(first->has_taken_lease() && first->lease().may_write());
  EXPECT_EQ(stored_state(), LeaseRecord::State::held);
  first->give_back();
  first->give_back();
  EXPECT_EQ(stored_state(), LeaseRecord::State::released);
  EXPECT_FALSE(first->lease().may_write());
  const auto second = make();
  second->take_lease();
  EXPECT_TRUE(second->lease().may_write());
}

TEST_F(VolumeOwnershipTest, OneThatWasNeverKeptIsGivenBackToo) {
  make()->take_lease();
  EXPECT_EQ(stored_state(), LeaseRecord::State::released);
}

TEST_F(VolumeOwnershipTest, ItsEndGivesItBackWhileTheKeeperRuns) {
  auto owner = make();
  owner->take_lease();
  owner->keep();
  EXPECT_EQ(stored_state(), LeaseRecord::State::held);
  owner.reset();
  EXPECT_EQ(stored_state(), LeaseRecord::State::released);
}

TEST_F(VolumeOwnershipTest, OfNobodyTakesNothingAndLetsEverythingPass) {
  const auto owner = make(Ownership::none);
  owner->take_lease();
  owner->keep();
  EXPECT_FALSE(owner->has_taken_lease());
  EXPECT_TRUE(owner->lease().may_write());
  owner->give_back();
  EXPECT_TRUE(owner->lease().may_write());
  EXPECT_FALSE(stored_state().has_value());
}

}  // namespace
}  // namespace nbdstack
