// A volume has the cost of the server that serves it, and of no other.
#include "plugins/s3/command/volume_cost.hpp"

#include <gtest/gtest.h>

#include "common/metrics/registry.hpp"

namespace nbdstack {
namespace {

LayerSnapshot server(const std::string& stack, const std::vector<std::string>& keys) {
  MetricsRegistry registry(stack, "s3");
  for (const std::string& key : keys) {
    registry.gauge(metric::kS3Volume, {{"export", key}, {"place", "https://s3/\xff"}, {"key", key}})
        .add(1);
  }
  registry.counter(metric::kS3Requests, {{"op", "PutObject"}, {"code", "200"}}).add(1000);
  return {stack, "s3", true, true, parse_exposition(registry.text()).value()};
}

std::optional<VolumeCost> cost_of_volume(const std::vector<LayerSnapshot>& layers,
                                         const std::string& key) {
  return find_volume_cost(layers, "https://s3/\xff", key, 1U << 30U, {});
}

TEST(VolumeCostTest, AVolumeIsFoundByItsPlaceAndKey) {
  const std::vector<LayerSnapshot> layers{server("vm1", {"a"}), server("vm2", {"b", "c"})};
  EXPECT_EQ(cost_of_volume(layers, "a")->stack, "vm1");
  EXPECT_DOUBLE_EQ(cost_of_volume(layers, "a")->requests.total(), 0.005);
  EXPECT_DOUBLE_EQ(cost_of_volume(layers, "a")->storage_a_month, 0.023);
  EXPECT_EQ(cost_of_volume(layers, "c")->stack, "vm2");
  EXPECT_EQ(cost_of_volume(layers, "c")->volumes, 2);
  EXPECT_FALSE(cost_of_volume(layers, "d"));
  EXPECT_FALSE(find_volume_cost(layers, "https://elsewhere", "a", 0, {}));
}

TEST(VolumeCostTest, AKilledServerHasNone) {
  std::vector<LayerSnapshot> layers{server("vm1", {"a"})};
  layers[0].is_running = false;
  EXPECT_FALSE(cost_of_volume(layers, "a"));
}

TEST(VolumeCostTest, WordsTellIfItIsForSeveralVolumes) {
  EXPECT_EQ(in_words(*cost_of_volume({server("vm1", {"a"})}, "a")),
            "$0.0050 for the requests of stack vm1 since its start, $0.0230 a month for what is "
            "stored");
  EXPECT_EQ(in_words(*cost_of_volume({server("vm1", {"a", "b"})}, "a")),
            "$0.0050 for the requests of stack vm1, which serves 2 volumes, since its start, "
            "$0.0230 a month for what is stored");
}

}  // namespace
}  // namespace nbdstack
