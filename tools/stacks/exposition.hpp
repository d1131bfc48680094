// A text in Prometheus' text format (version 0.0.4), read: what a layer writes
// (common/metrics/registry.hpp).
//
// The parser accepts what a registry writes and little more: printable ASCII, each family once and
// with its TYPE before its series, no timestamps, no series twice, each line with its end. A text
// that breaks one of these rules is not ours, or is not whole, and is refused as a whole.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nbdstack {

// One line of the text.
struct Series {
  std::string name;  // the family's; of a histogram's with _bucket, _sum or _count behind it
  std::vector<std::pair<std::string, std::string>> labels;
  std::string value_text;  // as written, so that a counter above 2^53 stays exact
  double value = 0;

  // Returns the label's value, or an empty text if the series does not have it.
  [[nodiscard]] std::string_view label(std::string_view label_name) const;
  // Returns `name{labels}`, which no other series has.
  [[nodiscard]] std::string key() const;
};

struct Family {
  std::string name;
  std::string type;  // counter, gauge or histogram
  std::string help;
  std::vector<Series> series;
};

// Returns nothing if the text is not one.
std::optional<std::vector<Family>> parse_exposition(std::string_view text);

// Returns a name as it stands in a label: what is not printable is written as \xNN.
std::string printable(std::string_view name);

// Returns null if it is not among them.
const Family* find_family(const std::vector<Family>& families, std::string_view name);

// Returns the text of one family, with its series in the order that they have.
std::string text_of(const Family& family);

}  // namespace nbdstack
