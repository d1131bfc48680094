#include "tools/stacks/stacks.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <tuple>
#include <utility>

#include "common/metrics/stack_directory.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kOurs = "nbdstack_";

// A family of this name would be taken for a part of a histogram's.
bool is_part_of_histogram(const Family& family) {
  const std::string_view name = family.name;
  return name.ends_with("_bucket") || name.ends_with("_sum") || name.ends_with("_count");
}

// A series tells where it is from. If that is not where it was found, it could be that of another
// layer as well.
bool is_of(const LayerSnapshot& found, const std::vector<Family>& families) {
  return std::all_of(families.begin(), families.end(), [&](const Family& family) {
    return family.name.starts_with(kOurs) && !is_part_of_histogram(family) &&
           std::all_of(family.series.begin(), family.series.end(), [&](const Series& series) {
             return series.label("stack") == found.stack && series.label("layer") == found.layer;
           });
  });
}

LayerSnapshot snapshot_of(const FoundLayer& found) {
  LayerSnapshot snapshot{
      printable(found.stack), printable(found.layer), found.is_running, false, {},
      found.written_at};
  if (!found.text) return snapshot;
  auto families = parse_exposition(*found.text);
  if (!families || !is_of(snapshot, *families)) return snapshot;
  snapshot.is_readable = true;
  snapshot.families = std::move(*families);
  return snapshot;
}

}  // namespace

std::vector<std::string> default_places() {
  std::vector<std::string> places{kStacksOfRoot};
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != '\0') places.push_back(std::string(runtime) + "/nbdstack");
  return places;
}

std::vector<LayerSnapshot> read_stacks(const std::vector<std::string>& places) {
  std::vector<LayerSnapshot> layers;
  for (const std::string& place : places) {
    const std::size_t before = layers.size();
    for (const FoundLayer& found : find_layers(place)) {
      const auto end = layers.begin() + static_cast<std::ptrdiff_t>(before);
      const bool is_known = std::any_of(layers.begin(), end, [&](const LayerSnapshot& layer) {
        return layer.stack == printable(found.stack);
      });
      if (!is_known) layers.push_back(snapshot_of(found));
    }
  }
  std::sort(layers.begin(), layers.end(), [](const LayerSnapshot& a, const LayerSnapshot& b) {
    return std::tie(a.stack, a.layer) < std::tie(b.stack, b.layer);
  });
  return layers;
}

}  // namespace nbdstack
