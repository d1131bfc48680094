// What lies in the directories of stacks (tools/stacks/exposition.hpp), and the table of prices.
//
//   any text       is refused, or is read again as it is written out, and says the same
//   two layers     of whatever was accepted are merged into a text that is accepted
//   any table      is refused by its line, or has prices that are no less than zero
#include <cmath>

#include "tests/fuzz/fuzz.hpp"
#include "tools/cost/prices.hpp"
#include "tools/metrics/merged_text.hpp"
#include "tools/stacks/exposition.hpp"

namespace nbdstack::fuzz {
namespace {

std::string written(const std::vector<Family>& families) {
  std::string text;
  for (const Family& family : families) text += text_of(family);
  return text;
}

void check_text(const std::string& input) {
  const auto families = parse_exposition(input);
  if (!families) return;
  const std::string text = written(*families);
  const auto again = parse_exposition(text);
  must(again.has_value(), "an accepted text is accepted as it is written");
  must(written(*again) == text, "a text that is written is written again alike");
}

// A layer's series carry its name, so that those of two layers differ.
LayerSnapshot layer_of(std::string_view text, const std::string& layer) {
  auto families = parse_exposition(text);
  LayerSnapshot snapshot{"fuzz", layer, true, families.has_value(), {}};
  if (!families) return snapshot;
  for (Family& family : *families) {
    for (Series& series : family.series) {
      std::erase_if(series.labels, [](const auto& label) { return label.first == "layer"; });
      series.labels.emplace_back("layer", layer);
    }
  }
  // The label may have been all that made two of its series differ.
  if (!parse_exposition(written(*families))) return snapshot;
  snapshot.families = std::move(*families);
  return snapshot;
}

bool has_suffix(const LayerSnapshot& layer) {
  for (const Family& family : layer.families) {
    const std::string_view name = family.name;
    if (name.ends_with("_bucket") || name.ends_with("_sum") || name.ends_with("_count"))
      return true;
  }
  return false;
}

void check_merge(std::string_view one, std::string_view other) {
  const LayerSnapshot first = layer_of(one, "first");
  const LayerSnapshot second = layer_of(other, "second");
  if (has_suffix(first) || has_suffix(second)) return;
  must(parse_exposition(merged_text({first, second}, {})).has_value(),
       "layers that are accepted make an accepted text");
}

void check_prices(const std::string& text) {
  const auto prices = accepted([&] { return parse_prices(text, "prices"); });
  if (!prices) return;
  for (const double price : {prices->put_per_1000, prices->get_per_1000, prices->transfer_per_gb,
                             prices->storage_per_gb_month}) {
    must(std::isfinite(price) && price >= 0, "a price is a number that is not negative");
  }
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack::fuzz;
  const std::string text = text_of({data, size});
  check_text(text);
  std::string_view rest = text;
  const std::string_view one = take_until(rest, "====\n");
  check_merge(one, rest);
  check_prices(text);
  return 0;
}
