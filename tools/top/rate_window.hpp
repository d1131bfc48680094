// The last two states of each layer, from which rates follow.
//
// A layer writes its file about once a second, so a reader that looks at other times would see one
// to three seconds' counts in two: the time that counts is that of the writing. A layer that has
// not written since the last look keeps the two states that it had.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/stacks/stacks.hpp"

namespace nbdstack {

// A label of series by its name and value; any series has one without a name.
using SeriesLabel = std::pair<std::string, std::string>;

struct LayerStates {
  LayerSnapshot now;
  std::optional<LayerSnapshot> before;  // nothing if it was seen once, or was started anew

  // Returns how far both are apart, or 0 if there is one only.
  [[nodiscard]] double seconds() const;
  // Returns the sum of the metric's series that have `label`, and how much
  // it has grown per second. Nothing if the layer does not have the metric.
  [[nodiscard]] std::optional<double> value(const Metric& metric,
                                            const SeriesLabel& label = {}) const;
  [[nodiscard]] std::optional<double> rate(const Metric& metric,
                                           const SeriesLabel& label = {}) const;
};

class RateWindow {
 public:
  // Replaces all: a layer that is not among them is forgotten.
  void take(std::vector<LayerSnapshot> layers);

  // Returns the layers by stack.
  [[nodiscard]] std::map<std::string, std::vector<LayerStates>> stacks() const;

 private:
  std::map<std::pair<std::string, std::string>, LayerStates> layers_;
};

// Returns the sum of the series that have `label`.
double sum_of(const Family& family, const SeriesLabel& label);

}  // namespace nbdstack
