// Reads a record of ours in JSON (a volume's descriptor, a lease) strictly: a field that is
// missing, of another kind or unknown is refused by name, because a record that looks almost right
// was written by a program that this version does not understand.
//
// Every refusal calls the given function, which throws the record's own error; for any text,
// nothing else is thrown but std::bad_alloc. A reader may be copied; copies share the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

// Returns whether a log can show the text unchanged.
bool is_printable_ascii(std::string_view text);

class RecordReader {
 public:
  // Does not return. `reason` continues "not a ... that this version understands:".
  using Refuse = void (*)(const std::string& object_name, const std::string& reason);

  // `object_name` is the record's name in errors. Refuses a text that is no JSON object.
  RecordReader(const std::string& text, std::string object_name, Refuse how_to_refuse);

  [[noreturn]] void refuse(const std::string& reason) const;

  // Each of these refuses a field that is missing or of another kind.
  [[nodiscard]] std::uint64_t number(const char* field) const;
  [[nodiscard]] std::uint32_t small_number(const char* field) const;
  [[nodiscard]] std::vector<std::uint64_t> numbers(const char* field) const;
  [[nodiscard]] std::string text(const char* field) const;
  // Reads lower case hex, with exactly as many digits as fill `bytes`.
  void read_hex(const char* field, std::span<std::byte> bytes) const;
  // Returns the record in this field, or nothing if there is no such field.
  [[nodiscard]] std::optional<RecordReader> record(const char* field) const;

  void expect_text(const char* field, std::string_view expected) const;
  void expect_no_other_fields(std::span<const std::string_view> known) const;

 private:
  using Json = nlohmann::ordered_json;

  RecordReader(std::shared_ptr<const Json> json, std::string object_name, Refuse how_to_refuse);

  std::shared_ptr<const Json> json_;
  std::string object_name_;
  Refuse how_to_refuse_;
};

}  // namespace nbdstack
