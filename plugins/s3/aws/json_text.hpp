// Texts in JSON from elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace nbdstack {

// What `text` is as JSON, or a value that is_discarded(). No exception, for theirs quote the text,
// which may hold secrets.
inline nlohmann::json parse_json(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// Empty where there is no such field, or it is no text.
inline std::string text_field(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace nbdstack
