#include "common/params/known_parameters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "common/params/nearest_name.hpp"

namespace nbdstack {

std::string unknown_parameter_text(std::string_view name, std::string_view plugin,
                                   std::span<const KnownParameter> known) {
  std::vector<std::string_view> names;
  std::transform(known.begin(), known.end(), std::back_inserter(names),
                 [](const KnownParameter& row) { return row.name; });
  const std::string_view meant = nearest_name(name, names);
  if (meant.empty()) {
    return fmt::format("unknown parameter '{}'; nbdkit {} --help lists them all", name, plugin);
  }
  const auto nearest = std::find_if(known.begin(), known.end(),
                                    [&](const KnownParameter& row) { return row.name == meant; });
  if (nearest->name != name) {
    return fmt::format("unknown parameter '{}': did you mean {} (of the {} {})?", name,
                       nearest->name, nearest->layer, nearest->kind);
  }
  return fmt::format(
      "unknown parameter '{}': it is for nbdstack's {} {}, which this command line does "
      "not load; add --filter={}",
      name, nearest->layer, nearest->kind, nearest->layer);
}

}  // namespace nbdstack
