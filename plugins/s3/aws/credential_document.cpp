#include "plugins/s3/aws/credential_document.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string_view>

#include "common/error.hpp"
#include "common/quoted_name.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/aws/json_text.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::json;

std::string required(const Json& json, const char* field, const std::string& origin) {
  std::string value = text_field(json, field);
  if (value.empty()) throw Error(EACCES, fmt::format("{} gave no {}", origin, field));
  return value;
}

void check_kind(const Json& json, CredentialDocument kind, const std::string& origin) {
  if (kind == CredentialDocument::program) {
    const auto version = json.find("Version");
    if (version == json.end() || *version != 1) {
      throw Error(EACCES, fmt::format("{} gave credentials without \"Version\": 1, the only "
                                      "version known",
                                      origin));
    }
    return;
  }
  const std::string code = text_field(json, "Code");
  if (!code.empty() && code != "Success") {
    throw Error(EACCES, fmt::format("{} answered {}: {}", origin, quotable(code),
                                    quotable(text_field(json, "Message"))));
  }
}

// Returns the seconds of "+02:00" or "-0530"; nothing for anything else.
std::optional<int> parse_offset_s(std::string_view text) {
  const bool colon = text.size() == 6 && text[3] == ':';
  if (!colon && text.size() != 5) return std::nullopt;
  if (text[0] != '+' && text[0] != '-') return std::nullopt;
  const auto number = [](std::string_view digits) -> std::optional<int> {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
  };
  const auto hours = number(text.substr(1, 2));
  const auto minutes = number(text.substr(text.size() - 2));
  if (!hours || !minutes) return std::nullopt;
  const int offset_s = *hours * 3600 + *minutes * 60;
  return text[0] == '-' ? -offset_s : offset_s;
}

}  // namespace

Credentials parse_credential_document(const std::string& text, CredentialDocument kind,
                                      const std::string& origin) {
  const Json json = parse_json(text);
  if (!json.is_object()) throw Error(EACCES, fmt::format("{} gave no JSON object", origin));
  check_kind(json, kind, origin);
  Credentials credentials{.access_key = required(json, "AccessKeyId", origin),
                          .secret_key = required(json, "SecretAccessKey", origin),
                          .session_token = {}};
  std::string expiration;
  if (kind == CredentialDocument::program) {
    credentials.session_token = text_field(json, "SessionToken");
    if (json.contains("Expiration") && !json["Expiration"].is_null()) {
      expiration = required(json, "Expiration", origin);
    }
  } else {
    credentials.session_token = required(json, "Token", origin);
    expiration = required(json, "Expiration", origin);
  }
  if (expiration.empty()) return credentials;
  credentials.expires = parse_iso_time(expiration);
  if (!credentials.expires) {
    throw Error(EACCES, fmt::format("{} gave an Expiration that is no ISO 8601 time", origin));
  }
  return credentials;
}

std::string parse_failure_document(const std::string& text) {
  const Json json = parse_json(text);
  if (!json.is_object()) return {};
  const auto either = [&](const char* lower, const char* upper) {
    const std::string value = text_field(json, lower);
    return quotable(value.empty() ? text_field(json, upper) : value);
  };
  const std::string code = either("code", "Code");
  const std::string message = either("message", "Message");
  if (code.empty() || message.empty()) return code + message;
  return fmt::format("{}: {}", code, message);
}

std::optional<std::chrono::system_clock::time_point> parse_iso_time(const std::string& text) {
  std::tm utc{};
  const char* const rest_begin = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (rest_begin == nullptr) return std::nullopt;
  std::string_view rest = rest_begin;
  if (rest.starts_with('.')) {  // a fraction of a second makes no difference
    const std::size_t end = rest.find_first_not_of("0123456789", 1);
    rest.remove_prefix(std::min(end, rest.size()));
  }
  int offset_s = 0;
  if (!rest.empty() && rest != "Z" && rest != "UTC") {
    const auto parsed = parse_offset_s(rest);
    if (!parsed) return std::nullopt;
    offset_s = *parsed;
  }
  return wall_time_of(timegm(&utc) - offset_s);
}

}  // namespace nbdstack
