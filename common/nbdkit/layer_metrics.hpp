// The metrics of this library's layer: the parameter metrics=, which every layer of ours has, and
// the file that it asks for.
//
// The parameter is given once for a stack. nbdkit shows it to the outermost filter, which passes it
// on to the next as it does with parameters that are not its own, because each of our layers writes
// a file of its own. The lowest of ours keeps it: nbdkit's own plugins would refuse it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/metrics/registry.hpp"
#include "common/metrics/snapshot_writer.hpp"
#include "common/params/parameters.hpp"

namespace nbdstack {

class LayerMetrics {
 public:
  // Made when nbdkit loads the library, and so after those of the layers below it.
  explicit LayerMetrics(std::string layer);

  [[nodiscard]] Parameter parameter();
  // Returns whether `key` is the parameter, and layers of ours below have to see it, too.
  [[nodiscard]] bool is_for_those_below(std::string_view key) const;

  // Makes the directory. Throws Error if that is not possible.
  void get_ready();
  // Begins to write the file.
  void after_fork();
  // Writes no more, and removes it.
  void cleanup() { writer_.reset(); }

  // Returns what the layers of this export count with: from get_ready() on, as long as this lives.
  [[nodiscard]] Metrics of_export(const std::string& name) const;
  // Returns what is counted of all exports together.
  [[nodiscard]] Metrics of_layer() const {
    return registry_ == nullptr ? Metrics() : Metrics(*registry_, {});
  }

 private:
  const std::string layer_;
  const unsigned layers_below_;  // of ours
  std::string directory_;        // empty if metrics are off
  std::unique_ptr<MetricsRegistry> registry_;
  std::unique_ptr<SnapshotWriter> writer_;
};

}  // namespace nbdstack
