#include "plugins/s3/aws/shared_config.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

using Sections = std::map<std::string, ProfileSettings>;

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Reads one file line by line.
class SectionReader {
 public:
  explicit SectionReader(const std::string& path) : path_(path) {}

  Sections read(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      ++line_number_;
      const std::string_view content = trim(line);
      if (content.empty() || content.front() == '#' || content.front() == ';') continue;
      take(content, line.find_first_not_of(kBlanks));
    }
    return std::move(sections_);
  }

 private:
  void take(std::string_view content, std::size_t indent) {
    if (after_setting_ && indent > indent_) {
      take_nested(content);
      return;
    }
    indent_ = indent;
    after_setting_ = content.front() != '[';
    if (content.front() == '[') {
      const std::size_t end = content.find(']');
      if (end == std::string_view::npos) refuse("a section's name has no end");
      section_ = &sections_[std::string(trim(content.substr(1, end - 1)))];
      return;
    }
    const std::size_t equals = content.find('=');
    if (section_ == nullptr || equals == std::string_view::npos) {
      refuse("neither a section nor a setting of one");
    }
    parent_ = in_lower_case(trim(content.substr(0, equals)));
    section_->insert_or_assign(parent_, std::string(trim(content.substr(equals + 1))));
  }

  // A nested line without a setting is part of a value of several lines, which is not needed.
  void take_nested(std::string_view content) {
    const std::size_t equals = content.find('=');
    if (equals == std::string_view::npos) return;
    section_->insert_or_assign(parent_ + "." + in_lower_case(trim(content.substr(0, equals))),
                               std::string(trim(content.substr(equals + 1))));
  }

  // The message does not quote the line, which may hold a secret.
  [[noreturn]] void refuse(std::string_view reason) const {
    throw Error(EINVAL, fmt::format("{}, line {}: {}", path_, line_number_, reason));
  }

  const std::string& path_;
  Sections sections_;
  ProfileSettings* section_ = nullptr;
  std::string parent_;  // the last setting that was not nested
  unsigned line_number_ = 0;
  std::size_t indent_ = 0;      // of the last line that was not nested
  bool after_setting_ = false;  // nothing can be nested in a section's first line
};

// Sets `fault` to the reason if it cannot be opened.
Sections read_sections(const std::string& path, const Environment& environment,
                       std::string& fault) {
  std::optional<std::string> text;
  try {
    text = environment.read_file(path);
  } catch (const Error& error) {
    if (fault.empty()) fault = error.what();
  }
  return text ? SectionReader(path).read(*text) : Sections();
}

std::string path_of(const Environment& environment, const std::string& variable,
                    const std::string& fallback) {
  const std::string path = environment.variable(variable);
  return environment.expand_home(path.empty() ? fallback : path);
}

// Returns the name in "profile work" or "profile 'my work'"; empty for other sections.
std::string name_of(std::string_view section, std::string_view word) {
  if (!section.starts_with(word)) return {};
  section.remove_prefix(word.size());
  if (section.empty() || kBlanks.find(section.front()) == std::string_view::npos) return {};
  section = trim(section);
  const bool quoted = section.size() >= 2 && section.front() == section.back() &&
                      (section.front() == '"' || section.front() == '\'');
  return std::string(quoted ? section.substr(1, section.size() - 2) : section);
}

std::string value_of(const ProfileSettings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::string() : found->second;
}

}  // namespace

std::string Profile::setting(const std::string& lower_case_name) const {
  const std::string first = value_of(in_credentials, lower_case_name);
  return first.empty() ? value_of(in_config, lower_case_name) : first;
}

SharedConfig SharedConfig::read(const Environment& environment) {
  SharedConfig config;
  config.credentials_path_ =
      path_of(environment, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
  config.config_path_ = path_of(environment, "AWS_CONFIG_FILE", "~/.aws/config");
  for (auto& [section, settings] :
       read_sections(config.credentials_path_, environment, config.fault_)) {
    config.profiles_[section] = {section, settings, {}};
  }
  // In the order of a map, "default" comes before "profile default", which therefore wins.
  for (auto& [section, settings] : read_sections(config.config_path_, environment, config.fault_)) {
    const std::string services = name_of(section, "services");
    if (!services.empty()) config.services_[services] = settings;
    const std::string sso_session = name_of(section, "sso-session");
    if (!sso_session.empty()) config.sso_sessions_[sso_session] = settings;
    const std::string name = section == "default" ? section : name_of(section, "profile");
    if (name.empty()) continue;
    Profile& profile = config.profiles_[name];
    profile.name = name;
    profile.in_config = settings;
  }
  return config;
}

std::string SharedConfig::service_setting(const Profile& profile, const std::string& service,
                                          const std::string& lower_case_name) const {
  const auto services = services_.find(profile.setting("services"));
  if (services != services_.end()) {
    std::string own = value_of(services->second, service + "." + lower_case_name);
    if (!own.empty()) return own;
  }
  return profile.setting(lower_case_name);
}

const ProfileSettings* SharedConfig::find_sso_session(const std::string& name) const {
  const auto found = sso_sessions_.find(name);
  return found == sso_sessions_.end() ? nullptr : &found->second;
}

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

const Profile* SharedConfig::find(const std::string& name) const {
  const auto found = profiles_.find(name);
  return found == profiles_.end() ? nullptr : &found->second;
}

}  // namespace nbdstack
