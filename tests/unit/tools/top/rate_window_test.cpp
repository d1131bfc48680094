// Rates are of the times at which layers have written, not of those at which somebody looked.
#include "tools/top/rate_window.hpp"

#include <gtest/gtest.h>

#include "tests/unit/tools/top/layer_at.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;

struct RateWindowTest : ::testing::Test {
  [[nodiscard]] LayerStates only() const { return window.stacks().at("vm1").at(0); }

  RateWindow window;
};

TEST_F(RateWindowTest, ARateIsThatOfTheTimeBetweenTwoFiles) {
  window.take({layer_at(milliseconds(0), {{"read", 100}})});
  EXPECT_FALSE(only().rate(metric::kRequests));
  EXPECT_EQ(only().value(metric::kRequests), 100);
  window.take({layer_at(milliseconds(2500), {{"read", 150}, {"write", 50}})});
  EXPECT_EQ(only().rate(metric::kRequests, {"op", "read"}), 20);
  EXPECT_EQ(only().rate(metric::kRequests, {"op", "write"}), 20) << "a series that is new";
  EXPECT_EQ(only().rate(metric::kRequests), 40);
  EXPECT_FALSE(only().rate(metric::kS3Requests));
}

TEST_F(RateWindowTest, ALookBetweenTwoFilesChangesNothing) {
  window.take({layer_at(milliseconds(0), {{"read", 100}})});
  window.take({layer_at(milliseconds(1000), {{"read", 150}})});
  window.take({layer_at(milliseconds(1000), {{"read", 150}})});
  EXPECT_EQ(only().rate(metric::kRequests), 50);
}

TEST_F(RateWindowTest, AServerThatWasStartedAnewBeginsAgain) {
  window.take({layer_at(milliseconds(0), {{"read", 100}})});
  window.take({layer_at(milliseconds(1000), {{"read", 7}})});
  EXPECT_FALSE(only().rate(metric::kRequests));
  window.take({layer_at(milliseconds(2000), {{"read", 8}})});
  EXPECT_EQ(only().rate(metric::kRequests), 1);
}

TEST_F(RateWindowTest, AKilledServerHasNoRates) {
  window.take({layer_at(milliseconds(0), {{"read", 100}})});
  LayerSnapshot killed = layer_at(milliseconds(1000), {{"read", 150}});
  killed.is_running = false;
  window.take({killed});
  EXPECT_FALSE(only().rate(metric::kRequests));
  EXPECT_FALSE(only().value(metric::kRequests));
}

TEST_F(RateWindowTest, ALayerThatIsGoneIsForgotten) {
  window.take({layer_at(milliseconds(0), {{"read", 100}})});
  window.take({});
  EXPECT_TRUE(window.stacks().empty());
}

}  // namespace
}  // namespace nbdstack
