#include "common/nbdkit/layer_metrics.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/nbdkit/server_user.hpp"
#include "common/params/values.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr const char* kName = "metrics";

// The process that has loaded libraries of ours, and their number: "PID:COUNT". nbdkit loads the
// plugin first and the outermost filter last, in one thread; libraries of ours hide their symbols
// from each other, and nbdkit shows none of them the layers below it.
constexpr const char* kLoadedBy = "NBDSTACK_LOADED_BY";

// Returns how many libraries of ours were loaded before this one.
unsigned count_loaded_layer() {
  const std::string process = std::to_string(::getpid()) + ":";
  const char* const loaded_by = std::getenv(kLoadedBy);
  unsigned count = 0;
  if (loaded_by != nullptr && std::string_view(loaded_by).starts_with(process) &&
      !parse_number(std::string_view(loaded_by).substr(process.size()), count)) {
    count = 0;
  }
  ::setenv(kLoadedBy, (process + std::to_string(count + 1)).c_str(), 1);
  return count;
}

}  // namespace

LayerMetrics::LayerMetrics(std::string layer)
    : layer_(std::move(layer)), layers_below_(count_loaded_layer()) {}

Parameter LayerMetrics::parameter() {
  auto set = [this](const std::string& value) {
    directory_ = value == "off" ? "" : absolute_path(kName, stack_directory(value));
  };
  return {kName,
          "NAME|DIRECTORY|off",
          "measures, under this name for the stack, for nbdstack-metrics and nbdstack-top",
          "",
          "off",
          std::move(set)};
}

bool LayerMetrics::is_for_those_below(std::string_view key) const {
  return key == kName && layers_below_ != 0;
}

void LayerMetrics::get_ready() {
  ::unsetenv(kLoadedBy);  // a command that nbdkit runs (--run) inherits no more of it
  if (directory_.empty()) return;
  try {
    make_readable_directory(directory_);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", kName, error.what()));
  }
  registry_ = std::make_unique<MetricsRegistry>(stack_name(directory_), layer_);
  registry_->gauge(metric::kLayersBelow, {}).add(layers_below_);
}

// A server without a thread to spare serves on, unmeasured.
void LayerMetrics::after_fork() {
  if (registry_ == nullptr) return;
  try {
    writer_ = std::make_unique<SnapshotWriter>(*registry_, directory_, layer_);
  } catch (const std::exception& error) {
    log::error("{}: nothing is written: {}", kName, error.what());
  }
}

Metrics LayerMetrics::of_export(const std::string& name) const {
  if (registry_ == nullptr) return {};
  return {*registry_, {{"export", registry_->export_label(name)}}};
}

}  // namespace nbdstack
