#include "tools/top/rate_window.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

// Counters that have shrunk are those of a server that was started anew.
bool is_continued(const LayerSnapshot& before, const LayerSnapshot& now) {
  const Family* const earlier = before.find(metric::kRequests);
  const Family* const later = now.find(metric::kRequests);
  if (earlier == nullptr) return true;
  return later != nullptr && sum_of(*earlier, {}) <= sum_of(*later, {});
}

}  // namespace

double sum_of(const Family& family, const SeriesLabel& label) {
  double sum = 0;
  for (const Series& series : family.series) {
    if (label.first.empty() || series.label(label.first) == label.second) sum += series.value;
  }
  return sum;
}

double LayerStates::seconds() const {
  if (!before) return 0;
  return std::chrono::duration<double>(now.written_at - before->written_at).count();
}

std::optional<double> LayerStates::value(const Metric& metric, const SeriesLabel& label) const {
  const Family* const family = now.find(metric);
  if (family == nullptr || !now.is_running) return std::nullopt;
  return sum_of(*family, label);
}

std::optional<double> LayerStates::rate(const Metric& metric, const SeriesLabel& label) const {
  const Family* const later = now.find(metric);
  if (later == nullptr || !now.is_running || seconds() <= 0) return std::nullopt;
  const Family* const earlier = before->find(metric);
  const double grown = sum_of(*later, label) - (earlier == nullptr ? 0 : sum_of(*earlier, label));
  return std::max(grown, 0.0) / seconds();
}

void RateWindow::take(std::vector<LayerSnapshot> layers) {
  std::map<std::pair<std::string, std::string>, LayerStates> all;
  for (LayerSnapshot& layer : layers) {
    const std::pair key(layer.stack, layer.layer);
    LayerStates states;
    if (const auto known = layers_.find(key); known != layers_.end()) {
      LayerSnapshot& last = known->second.now;
      if (last.written_at == layer.written_at) {
        states.before = std::move(known->second.before);
      } else if (last.written_at < layer.written_at && is_continued(last, layer)) {
        states.before = std::move(last);
      }
    }
    states.now = std::move(layer);
    all.emplace(key, std::move(states));
  }
  layers_ = std::move(all);
}

std::map<std::string, std::vector<LayerStates>> RateWindow::stacks() const {
  std::map<std::string, std::vector<LayerStates>> stacks;
  for (const auto& [key, states] : layers_) stacks[key.first].push_back(states);
  return stacks;
}

}  // namespace nbdstack
