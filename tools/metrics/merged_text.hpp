// One text in Prometheus' format of all layers: each family once, with the series of all layers
// together, and what the layers cannot know of themselves.
//
//   a layer                      its series       nbdstack_up   nbdstack_unreadable
//   of a running server          are in the text  1             0
//   of a killed server           are left out     0             0
//   whose file is not a layer's  are left out     as above      1
//
// A family that an earlier layer has as another kind is left out of the later one, which counts in
// nbdstack_conflicting_families: servers of two versions may run beside each other.
#pragma once

#include <string>
#include <vector>

#include "tools/cost/prices.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {

std::string merged_text(const std::vector<LayerSnapshot>& layers, const Prices& prices);

}  // namespace nbdstack
