#include "tools/cost/prices.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <set>
#include <span>

#include "common/error.hpp"
#include "common/io/file.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kMostBytes = 64U << 10U;

bool parse_price(std::string_view text, double& price) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return false;
  if (!std::isfinite(value) || value < 0) return false;
  price = value;
  return true;
}

double* price_of(Prices& prices, std::string_view key) {
  if (key == "put-per-1000") return &prices.put_per_1000;
  if (key == "get-per-1000") return &prices.get_per_1000;
  if (key == "transfer-per-gb") return &prices.transfer_per_gb;
  if (key == "storage-per-gb-month") return &prices.storage_per_gb_month;
  return nullptr;
}

// Throws Error without the place.
void set_price(Prices& prices, std::string_view key, std::string_view value) {
  if (key == "transfer") {
    if (value != "same-region" && value != "internet") {
      throw Error(EINVAL, fmt::format("transfer={} is neither same-region nor internet",
                                      quotable(std::string(value))));
    }
    prices.is_transfer_billed = value == "internet";
    return;
  }
  double* const price = price_of(prices, key);
  if (price == nullptr) {
    throw Error(EINVAL, fmt::format("there is no price {}: put-per-1000, get-per-1000, transfer, "
                                    "transfer-per-gb and storage-per-gb-month are known",
                                    quoted_name(key)));
  }
  if (!parse_price(value, *price)) {
    throw Error(EINVAL, fmt::format("{}={} is no price in dollars, such as 0.005", key,
                                    quotable(std::string(value))));
  }
}

}  // namespace

Prices parse_prices(std::string_view text, const std::string& path) {
  Prices prices;
  std::set<std::string_view> keys;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    try {
      const std::size_t equals = line.find('=');
      if (equals == std::string_view::npos) throw Error(EINVAL, "this is no line key=value");
      if (!keys.insert(line.substr(0, equals)).second) throw Error(EINVAL, "a price is set twice");
      set_price(prices, line.substr(0, equals), line.substr(equals + 1));
    } catch (const Error& error) {
      throw Error(EINVAL, fmt::format("{}, line {}: {}", path, number, error.what()));
    }
  }
  return prices;
}

Prices read_prices(const std::string& path) {
  const File file = File::open(path, O_RDONLY);
  const std::uint64_t size_bytes = file.size_bytes();
  if (size_bytes > kMostBytes) throw Error(EFBIG, path + " is too long for a table of prices");
  std::string text(size_bytes, '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), 0);
  return parse_prices(text, path);
}

}  // namespace nbdstack
