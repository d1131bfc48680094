#include "tools/metrics/merged_text.hpp"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>
#include <utility>

#include "tools/cost/cost.hpp"

namespace nbdstack {
namespace {

const char* type_of(const Metric& metric) {
  return metric.kind == MetricKind::counter ? "counter" : "gauge";
}

class Merge {
 public:
  Merge() {
    for (const Metric* const metric :
         {&metric::kUp, &metric::kUnreadable, &metric::kConflictingFamilies, &metric::kCost}) {
      families_[metric->name] = {metric->name, type_of(*metric), metric->help, {}};
      own_.insert(metric->name);
    }
  }

  void add(const LayerSnapshot& layer) {
    const std::vector<std::pair<std::string, std::string>> labels{{"stack", layer.stack},
                                                                  {"layer", layer.layer}};
    add_own(metric::kUp, labels, layer.is_running ? 1 : 0);
    add_own(metric::kUnreadable, labels, layer.is_readable ? 0 : 1);
    if (!layer.is_running || !layer.is_readable) return;
    unsigned conflicts = 0;
    for (const Family& family : layer.families) conflicts += add_family(family) ? 0 : 1;
    add_own(metric::kConflictingFamilies, labels, conflicts);
  }

  void add_own(const Metric& metric, std::vector<std::pair<std::string, std::string>> labels,
               double value) {
    families_[metric.name].series.push_back(
        {metric.name, std::move(labels), fmt::format("{}", value), value});
  }

  [[nodiscard]] std::string text() const {
    std::string text;
    for (const auto& [name, family] : families_) {
      if (!family.series.empty()) text += text_of(family);
    }
    return text;
  }

 private:
  // Returns false if it cannot be in the text.
  bool add_family(const Family& family) {
    if (own_.contains(family.name)) return false;
    Family& all =
        families_.try_emplace(family.name, Family{family.name, family.type, family.help, {}})
            .first->second;
    if (all.type != family.type) return false;
    all.series.insert(all.series.end(), family.series.begin(), family.series.end());
    return true;
  }

  std::map<std::string, Family, std::less<>> families_;
  std::set<std::string, std::less<>> own_;
};

}  // namespace

std::string merged_text(const std::vector<LayerSnapshot>& layers, const Prices& prices) {
  Merge merge;
  std::set<std::string> paying_stacks;
  for (const LayerSnapshot& layer : layers) {
    merge.add(layer);
    if (layer.is_running && layer.find(metric::kS3Requests) != nullptr) {
      paying_stacks.insert(layer.stack);
    }
  }
  for (const std::string& stack : paying_stacks) {
    const Cost cost = cost_of(usage_of(layers, stack), prices);
    merge.add_own(metric::kCost, {{"stack", stack}, {"class", "put"}}, cost.put);
    merge.add_own(metric::kCost, {{"stack", stack}, {"class", "get"}}, cost.get);
    merge.add_own(metric::kCost, {{"stack", stack}, {"class", "transfer"}}, cost.transfer);
  }
  return merge.text();
}

}  // namespace nbdstack
