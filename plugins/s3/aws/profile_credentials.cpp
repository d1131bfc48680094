#include "plugins/s3/aws/profile_credentials.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "common/error.hpp"
#include "plugins/s3/aws/credential_http.hpp"
#include "plugins/s3/aws/credential_process.hpp"
#include "plugins/s3/aws/single_sign_on.hpp"
#include "plugins/s3/aws/sts.hpp"

namespace nbdstack {
namespace {

template <typename... Args>
[[noreturn]] void refuse(const Profile& profile, fmt::format_string<Args...> format,
                         Args&&... args) {
  throw Error(EINVAL, fmt::format("profile \"{}\": ", profile.name) +
                          fmt::format(format, std::forward<Args>(args)...));
}

// AWS's bounds for the length of a session.
constexpr unsigned kDuration_s_min = 900;
constexpr unsigned kDuration_s_max = 43200;

std::optional<unsigned> duration_of(const Profile& profile) {
  const std::string text = profile.setting("duration_seconds");
  if (text.empty()) return std::nullopt;
  unsigned duration_s = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), duration_s);
  if (error != std::errc() || end != text.data() + text.size() || duration_s < kDuration_s_min ||
      duration_s > kDuration_s_max) {
    refuse(profile, "duration_seconds = {} is no number from {} to {}", text, kDuration_s_min,
           kDuration_s_max);
  }
  return duration_s;
}

bool has_role(const Profile& profile) {
  return !profile.setting("role_arn").empty() && profile.setting("web_identity_token_file").empty();
}

bool has_keys(const Profile& profile) {
  return !profile.setting("aws_access_key_id").empty() ||
         !profile.setting("aws_secret_access_key").empty();
}

// Refuses a profile that signs in, and has nothing else that gives credentials here: to continue
// would end in another identity.
void refuse_other_sign_in(const Profile& profile) {
  for (const char* name : {"sso_session", "sso_start_url"}) {
    if (profile.setting(name).empty()) continue;
    refuse(profile, "{} gives credentials with sso_account_id and sso_role_name only", name);
  }
  if (!profile.setting("login_session").empty()) {
    refuse(profile,
           "login_session is not supported: sign in with the AWS CLI, and add a profile with "
           "credential_process = aws configure export-credentials --profile {}",
           profile.name);
  }
}

}  // namespace

RoleRequest role_of(const Profile& profile) {
  return {.role_arn = profile.setting("role_arn"),
          .session_name = profile.setting("role_session_name"),
          .external_id = profile.setting("external_id"),
          .duration_s = duration_of(profile)};
}

std::optional<Credentials> credentials_of_environment(const Environment& environment) {
  Credentials found{.access_key = environment.variable("AWS_ACCESS_KEY_ID"),
                    .secret_key = environment.variable("AWS_SECRET_ACCESS_KEY"),
                    .session_token = environment.variable("AWS_SECURITY_TOKEN")};
  if (found.session_token.empty()) found.session_token = environment.variable("AWS_SESSION_TOKEN");
  if (found.access_key.empty() && found.secret_key.empty()) return std::nullopt;
  if (found.access_key.empty() || found.secret_key.empty()) {
    throw Error(EINVAL,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together in the "
                "environment");
  }
  return found;
}

std::optional<Credentials> ProfileCredentials::of_role(const Profile& profile) {
  if (!has_role(profile)) return std::nullopt;
  chain_.clear();
  return assume(profile);
}

std::optional<Credentials> ProfileCredentials::of_others(const Profile& profile) {
  const std::string token_path = profile.setting("web_identity_token_file");
  if (!token_path.empty()) {
    if (profile.setting("role_arn").empty()) {
      refuse(profile, "web_identity_token_file needs a role_arn");
    }
    return assume_role_with_web_identity(
        role_of(profile), settings_.environment().expand_home(token_path), settings_);
  }
  if (auto found = credentials_of_single_sign_on(profile, settings_)) return found;
  if (auto found =
          of_keys(profile, profile.in_credentials, settings_.config().credentials_path())) {
    return found;
  }
  const std::string command = profile.setting("credential_process");
  if (!command.empty())
    return credentials_of_process(profile.name, command, settings_.environment());
  if (auto found = of_keys(profile, profile.in_config, settings_.config().config_path()))
    return found;
  refuse_other_sign_in(profile);
  return std::nullopt;
}

std::optional<Credentials> ProfileCredentials::of_keys(const Profile& profile,
                                                       const ProfileSettings& settings,
                                                       const std::string& path) const {
  const auto value = [&](const char* name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string() : found->second;
  };
  Credentials found{.access_key = value("aws_access_key_id"),
                    .secret_key = value("aws_secret_access_key"),
                    .session_token = value("aws_security_token")};
  if (found.session_token.empty()) found.session_token = value("aws_session_token");
  if (found.access_key.empty() && found.secret_key.empty()) return std::nullopt;
  if (found.access_key.empty() || found.secret_key.empty()) {
    throw Error(EINVAL, fmt::format("{}: profile \"{}\" needs both aws_access_key_id and "
                                    "aws_secret_access_key",
                                    path, profile.name));
  }
  return found;
}

Credentials ProfileCredentials::assume(const Profile& profile) {
  chain_.push_back(profile.name);
  if (!profile.setting("mfa_serial").empty()) {
    refuse(profile,
           "mfa_serial is not supported, for nobody can be asked for a code: put credentials that "
           "the AWS CLI has got into the environment, or print them by credential_process");
  }
  const std::string source_profile = profile.setting("source_profile");
  const std::string credential_source = profile.setting("credential_source");
  if (source_profile.empty() == credential_source.empty()) {
    refuse(profile, "role_arn needs one of source_profile and credential_source");
  }
  const RoleRequest role = role_of(profile);
  Credentials source;
  if (!credential_source.empty()) {
    source = named_source(profile, credential_source);
  } else {
    const Profile* const other = settings_.config().find(source_profile);
    if (other == nullptr) {
      refuse(profile, "its source_profile \"{}\" exists neither in {} nor in {}", source_profile,
             settings_.config().credentials_path(), settings_.config().config_path());
    }
    source = of_source(*other, profile.name);
  }
  return assume_role(role, source, settings_);
}

Credentials ProfileCredentials::of_source(const Profile& profile, const std::string& role_profile) {
  const bool keys = has_keys(profile);
  // A profile may be its own source only for its own keys.
  const bool seen = std::find(chain_.begin(), chain_.end(), profile.name) != chain_.end();
  if (seen && !(keys && profile.name == role_profile)) {
    refuse(profile, "the roles go round in a circle by their source_profile: {} -> {}",
           fmt::join(chain_, " -> "), profile.name);
  }
  if (has_role(profile) && !keys) return assume(profile);
  if (auto found = of_others(profile)) return *found;
  refuse(profile, "it is the source_profile of \"{}\", but has no credentials", role_profile);
}

Credentials ProfileCredentials::named_source(const Profile& profile,
                                             const std::string& source) const {
  std::optional<Credentials> found;
  std::string why_not;
  if (source == "Environment") {
    found = credentials_of_environment(settings_.environment());
    why_not = "AWS_ACCESS_KEY_ID is not set";
  } else if (source == "EcsContainer") {
    found = credentials_of_container(settings_);
    why_not = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set";
  } else if (source == "Ec2InstanceMetadata") {
    found = credentials_of_instance(settings_, why_not);
  } else {
    refuse(profile,
           "credential_source = {} is none of Environment, EcsContainer, Ec2InstanceMetadata",
           source);
  }
  if (!found) {
    throw Error(EACCES, fmt::format("profile \"{}\": credential_source = {} gives none: {}",
                                    profile.name, source, why_not));
  }
  return *found;
}

}  // namespace nbdstack
