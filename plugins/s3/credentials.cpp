#include "plugins/s3/credentials.hpp"

#include <fmt/core.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kDefaultRegion = "us-east-1";

using Settings = std::map<std::string, std::string>;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// One section of an AWS ini file. Indented lines belong to nested settings, which we need none of.
std::optional<Settings> read_section(const std::string& text, const std::string& wanted) {
  std::optional<Settings> settings;
  bool inside = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string_view content = trim(line);
    if (content.empty() || content.front() == '#' || content.front() == ';') continue;
    if (content.front() == '[') {
      inside = trim(content.substr(1, content.find(']') - 1)) == wanted;
      if (inside && !settings) settings.emplace();
      continue;
    }
    const std::size_t equals = content.find('=');
    const bool nested = line.front() == ' ' || line.front() == '\t';
    if (!inside || nested || equals == std::string_view::npos) continue;
    settings->insert_or_assign(std::string(trim(content.substr(0, equals))),
                               std::string(trim(content.substr(equals + 1))));
  }
  return settings;
}

std::string value_of(const Settings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::string() : found->second;
}

// What the two files say about one profile.
struct Profile {
  std::string name;
  bool chosen = false;  // by parameter or AWS_PROFILE: then it must exist
  std::string credentials_path;
  std::string config_path;
  std::optional<Settings> in_credentials;
  std::optional<Settings> in_config;
};

class IdentityFinder {
 public:
  IdentityFinder(const CredentialParameters& parameters, const Surroundings& surroundings)
      : parameters_(parameters), surroundings_(surroundings), profile_(read_profile()) {}

  [[nodiscard]] Identity find() const {
    Identity identity;
    const bool found =
        from_parameters(identity) || from_environment(identity) ||
        from_settings(profile_.in_credentials, profile_.credentials_path, identity) ||
        from_settings(profile_.in_config, profile_.config_path, identity);
    if (!found) report_nothing_found();
    identity.region = find_region();
    return identity;
  }

 private:
  [[nodiscard]] std::string variable(const std::string& name) const {
    return surroundings_.environment(name).value_or("");
  }

  [[nodiscard]] std::string file_path(const std::string& name, const std::string& fallback) const {
    const std::string path = variable(name);
    return path.empty() ? variable("HOME") + fallback : path;
  }

  [[nodiscard]] Profile read_profile() const {
    Profile profile;
    profile.name = parameters_.profile.empty() ? variable("AWS_PROFILE") : parameters_.profile;
    profile.chosen = !profile.name.empty();
    if (!profile.chosen) profile.name = "default";
    profile.credentials_path = file_path("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials");
    profile.config_path = file_path("AWS_CONFIG_FILE", "/.aws/config");
    if (const auto text = surroundings_.read_file(profile.credentials_path)) {
      profile.in_credentials = read_section(*text, profile.name);
    }
    if (const auto text = surroundings_.read_file(profile.config_path)) {
      profile.in_config = read_section(*text, "profile " + profile.name);
      // The default profile goes without the word "profile".
      if (!profile.in_config && profile.name == "default") {
        profile.in_config = read_section(*text, profile.name);
      }
    }
    return profile;
  }

  [[nodiscard]] bool from_parameters(Identity& identity) const {
    const CredentialParameters& given = parameters_;
    if (given.access_key.empty() && given.secret_key.empty() && given.session_token.empty()) {
      return false;
    }
    if (given.access_key.empty() || given.secret_key.empty()) {
      throw Error(EINVAL, "access-key and secret-key must be given together");
    }
    identity.credentials = {given.access_key, given.secret_key, given.session_token};
    identity.source = "the parameter access-key";
    return true;
  }

  [[nodiscard]] bool from_environment(Identity& identity) const {
    if (!parameters_.profile.empty()) return false;
    const Credentials found{variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"),
                            variable("AWS_SESSION_TOKEN")};
    if (found.access_key.empty() && found.secret_key.empty()) return false;
    if (found.access_key.empty() || found.secret_key.empty()) {
      throw Error(EINVAL,
                  "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together in the "
                  "environment");
    }
    identity.credentials = found;
    identity.source = "AWS_ACCESS_KEY_ID in the environment";
    return true;
  }

  [[nodiscard]] bool from_settings(const std::optional<Settings>& settings, const std::string& path,
                                   Identity& identity) const {
    if (!settings) return false;
    const Credentials found{value_of(*settings, "aws_access_key_id"),
                            value_of(*settings, "aws_secret_access_key"),
                            value_of(*settings, "aws_session_token")};
    if (found.access_key.empty() && found.secret_key.empty()) return false;
    if (found.access_key.empty() || found.secret_key.empty()) {
      throw Error(EINVAL, fmt::format("{}: profile \"{}\" needs both aws_access_key_id and "
                                      "aws_secret_access_key",
                                      path, profile_.name));
    }
    identity.credentials = found;
    identity.source = fmt::format("profile \"{}\" in {}", profile_.name, path);
    return true;
  }

  [[nodiscard]] std::string find_region() const {
    std::string region = parameters_.region;
    if (region.empty()) region = variable("AWS_REGION");
    if (region.empty()) region = variable("AWS_DEFAULT_REGION");
    if (region.empty() && profile_.in_config) region = value_of(*profile_.in_config, "region");
    if (region.empty() && profile_.in_credentials) {
      region = value_of(*profile_.in_credentials, "region");
    }
    return region.empty() ? std::string(kDefaultRegion) : region;
  }

  // The first setting that shows that the profile gets its keys in a way we do not know.
  [[nodiscard]] std::string unsupported_setting() const {
    for (const auto* settings : {&profile_.in_credentials, &profile_.in_config}) {
      if (!*settings) continue;
      for (const char* name : {"role_arn", "web_identity_token_file", "sso_session",
                               "sso_start_url", "credential_process"}) {
        if ((*settings)->contains(name)) return name;
      }
    }
    return {};
  }

  [[noreturn]] void report_nothing_found() const {
    const std::string unsupported = unsupported_setting();
    if (!unsupported.empty()) {
      throw Error(EINVAL,
                  fmt::format("profile \"{}\" gets its credentials by {}, which is not supported: "
                              "use a profile with aws_access_key_id and aws_secret_access_key, or "
                              "put temporary credentials into AWS_ACCESS_KEY_ID, "
                              "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
                              profile_.name, unsupported));
    }
    if (profile_.chosen && !profile_.in_credentials && !profile_.in_config) {
      throw Error(EINVAL,
                  fmt::format("profile \"{}\" exists neither in {} nor in {}", profile_.name,
                              profile_.credentials_path, profile_.config_path));
    }
    throw Error(EACCES,
                fmt::format("no credentials found: looked at the parameters access-key and "
                            "secret-key, {}and profile \"{}\" in {} and {}",
                            parameters_.profile.empty()
                                ? "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, "
                                : "",
                            profile_.name, profile_.credentials_path, profile_.config_path));
  }

  const CredentialParameters& parameters_;
  const Surroundings& surroundings_;
  const Profile profile_;
};

std::optional<std::string> read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) return std::nullopt;
    throw system_error(code, "{}", path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

Surroundings Surroundings::of_process() {
  return {[](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            if (value == nullptr) return std::nullopt;
            return value;
          },
          read_whole_file};
}

Identity find_identity(const CredentialParameters& parameters, const Surroundings& surroundings) {
  return IdentityFinder(parameters, surroundings).find();
}

}  // namespace nbdstack
