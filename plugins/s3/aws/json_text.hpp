// JSON from elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace nbdstack {

// Returns a value that is_discarded() if `text` is no JSON. The library's exceptions are not used,
// because they quote the text, which may hold secrets.
inline nlohmann::json parse_json(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// Returns an empty text if there is no such field, or its value is no string.
inline std::string text_field(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace nbdstack
