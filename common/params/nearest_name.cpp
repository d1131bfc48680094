#include "common/params/nearest_name.hpp"

#include <algorithm>
#include <cstddef>

namespace nbdstack {
namespace {

// The Damerau-Levenshtein distance (optimal string alignment): the number of letters to insert,
// remove, replace or exchange with their neighbour to turn one into the other. rows[i][j] is that
// of the first i letters of `a` and the first j of `b`.
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

// A beginning of a name counts as one error.
std::size_t errors_of(std::string_view typed, std::string_view name) {
  const bool is_beginning = typed.size() > 2 && typed != name && name.starts_with(typed);
  return is_beginning ? 1 : edit_distance(typed, name);
}

}  // namespace

std::string_view nearest_name(std::string_view typed, const std::vector<std::string_view>& names) {
  constexpr std::size_t kLongest = 100;  // a longer word is no typing error
  std::string_view nearest;
  std::size_t fewest = std::min(typed.size(), kLongest) / 3 + 1;
  for (const std::string_view name : names) {
    const std::size_t errors = typed.size() > kLongest ? fewest : errors_of(typed, name);
    if (errors < fewest) {
      nearest = name;
      fewest = errors;
    }
  }
  return nearest;
}

}  // namespace nbdstack
