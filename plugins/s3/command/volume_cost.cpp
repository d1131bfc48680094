#include "plugins/s3/command/volume_cost.hpp"

#include <fmt/format.h>

#include <set>
#include <utility>

namespace nbdstack {

std::optional<VolumeCost> find_volume_cost(const std::vector<LayerSnapshot>& layers,
                                           const std::string& place, const std::string& key,
                                           double stored_bytes, const Prices& prices) {
  const std::pair wanted(printable(place), printable(key));
  for (const LayerSnapshot& layer : layers) {
    const Family* const shown = layer.find(metric::kS3Volume);
    if (shown == nullptr || !layer.is_running) continue;
    std::set<std::pair<std::string, std::string>> volumes;
    for (const Series& series : shown->series) {
      volumes.emplace(series.label("place"), series.label("key"));
    }
    if (!volumes.contains(wanted)) continue;
    return VolumeCost{.stack = layer.stack,
                      .volumes = volumes.size(),
                      .requests = cost_of(usage_of(layers, layer.stack), prices),
                      .storage_a_month = storage_a_month(stored_bytes, prices)};
  }
  return std::nullopt;
}

std::string in_words(const VolumeCost& cost) {
  const std::string others =
      cost.volumes == 1 ? "" : fmt::format(", which serves {} volumes,", cost.volumes);
  return fmt::format(
      "${:.4f} for the requests of stack {}{} since its start, ${:.4f} a month for "
      "what is stored",
      cost.requests.total(), cost.stack, others, cost.storage_a_month);
}

}  // namespace nbdstack
