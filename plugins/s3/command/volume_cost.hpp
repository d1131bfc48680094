// The cost of the requests for a volume that a server of this machine serves while it measures
// itself (metrics=, in the default place).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "tools/cost/cost.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {

struct VolumeCost {
  std::string stack;
  // The server's requests are not counted for each volume: if it serves several, this is for all.
  std::size_t volumes = 1;
  Cost requests;  // since the server has started
  double storage_a_month = 0;
};

// `place` is that of the store, and `key` that of the volume: nbdstack_s3_volume_info has both.
// Returns nothing if no running server serves it.
std::optional<VolumeCost> find_volume_cost(const std::vector<LayerSnapshot>& layers,
                                           const std::string& place, const std::string& key,
                                           double stored_bytes, const Prices& prices);

// Returns the text of its line in a report.
std::string in_words(const VolumeCost& cost);

}  // namespace nbdstack
