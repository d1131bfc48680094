#include "plugins/s3/store/record_reader.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace nbdstack {

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

RecordReader::RecordReader(const std::string& text, std::string object_name, Refuse how_to_refuse)
    : RecordReader(std::make_shared<Json>(Json::parse(text, nullptr, /*allow_exceptions=*/false)),
                   std::move(object_name), how_to_refuse) {
  if (!json_->is_object()) refuse("it is no JSON object");
}

RecordReader::RecordReader(std::shared_ptr<const Json> json, std::string object_name,
                           Refuse how_to_refuse)
    : json_(std::move(json)), object_name_(std::move(object_name)), how_to_refuse_(how_to_refuse) {}

void RecordReader::refuse(const std::string& reason) const {
  how_to_refuse_(object_name_, reason);
  std::abort();  // it has thrown
}

std::uint64_t RecordReader::number(const char* field) const {
  const auto found = json_->find(field);
  if (found == json_->end() || !found->is_number_unsigned()) {
    refuse(fmt::format("\"{}\" is missing or no number", field));
  }
  return found->get<std::uint64_t>();
}

std::uint32_t RecordReader::small_number(const char* field) const {
  const std::uint64_t value = number(field);
  if (value > std::numeric_limits<std::uint32_t>::max()) {
    refuse(fmt::format("\"{}\" is {}, which is not possible", field, value));
  }
  return static_cast<std::uint32_t>(value);
}

std::vector<std::uint64_t> RecordReader::numbers(const char* field) const {
  const auto found = json_->find(field);
  const bool is_list = found != json_->end() && found->is_array();
  if (!is_list || !std::all_of(found->begin(), found->end(),
                               [](const Json& each) { return each.is_number_unsigned(); })) {
    refuse(fmt::format("\"{}\" is missing or no list of numbers", field));
  }
  return found->get<std::vector<std::uint64_t>>();
}

std::string RecordReader::text(const char* field) const {
  const auto found = json_->find(field);
  if (found == json_->end() || !found->is_string()) {
    refuse(fmt::format("\"{}\" is missing or no text", field));
  }
  return found->get<std::string>();
}

void RecordReader::read_hex(const char* field, std::span<std::byte> bytes) const {
  constexpr std::string_view kHex = "0123456789abcdef";
  const std::string digits = text(field);
  if (digits.size() != 2 * bytes.size() || digits.find_first_not_of(kHex) != std::string::npos) {
    refuse(
        fmt::format("\"{}\" is not {} hexadecimal digits in lower case", field, 2 * bytes.size()));
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] =
        static_cast<std::byte>(kHex.find(digits[2 * i]) << 4U | kHex.find(digits[2 * i + 1]));
  }
}

std::optional<RecordReader> RecordReader::record(const char* field) const {
  const auto found = json_->find(field);
  if (found == json_->end()) return std::nullopt;
  if (!found->is_object()) refuse(fmt::format("\"{}\" is no object", field));
  // Not a copy, which would take stack for each level of what is nested there.
  return RecordReader(std::shared_ptr<const Json>(json_, &*found), object_name_, how_to_refuse_);
}

void RecordReader::expect_text(const char* field, std::string_view expected) const {
  const std::string found = text(field);
  if (found != expected) refuse(fmt::format("its {} is \"{}\"", field, found));
}

void RecordReader::expect_no_other_fields(std::span<const std::string_view> known) const {
  for (const auto& item : json_->items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    // A key may hold anything: it is repeated only as far as a log can show it.
    refuse(is_printable_ascii(item.key()) ? fmt::format("the field \"{}\" is unknown", item.key())
                                          : "it has a field that is unknown");
  }
}

}  // namespace nbdstack
