#include "common/params/known_parameters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace nbdstack {
namespace {

// The Damerau-Levenshtein distance (optimal string alignment): how many letters must be inserted,
// removed, replaced or exchanged with their neighbour to make one of the other. rows[i][j] is that of
// the first i letters of `a` and the first j of `b`.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector rows(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      const std::size_t replaced = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      rows[i][j] = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.size()][b.size()];
}

// What was typed may be the beginning of a name, or have a typing error in each three letters.
std::size_t distance_to(const KnownParameter& parameter, std::string_view typed) {
  return typed.size() > 2 && parameter.name.starts_with(typed)
             ? 1
             : edit_distance(parameter.name, typed);
}

}  // namespace

std::string unknown_parameter_text(std::string_view name, std::string_view plugin,
                                   std::span<const KnownParameter> known) {
  constexpr std::size_t kLongest = 100;  // nothing longer is a typing error
  if (name.size() > kLongest) known = {};
  const auto nearest = std::min_element(known.begin(), known.end(), [&](auto& one, auto& other) {
    return distance_to(one, name) < distance_to(other, name);
  });
  if (nearest == known.end() || distance_to(*nearest, name) > name.size() / 3) {
    return fmt::format("unknown parameter '{}'; nbdkit {} --help lists them all", name, plugin);
  }
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
