#include "plugins/s3/aws/credential_chain.hpp"

#include <fmt/core.h>

#include <array>
#include <optional>

#include "common/error.hpp"
#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credential_http.hpp"
#include "plugins/s3/aws/profile_credentials.hpp"
#include "plugins/s3/aws/sts.hpp"

namespace nbdstack {
namespace {

class Chain {
 public:
  Chain(const CredentialParameters& parameters, const Environment& environment)
      : parameters_(parameters), settings_(environment, parameters), of_profile_(settings_) {}

  Identity find() {
    for (const auto& [step, origin, source] : kSteps) {
      if (auto found = (this->*step)()) {
        return {.credentials = *found,
                .region = settings_.region(),
                .origin = origin,
                .source = named(source),
                .endpoint = settings_.s3_endpoint_url(),
                .ca_file = settings_.ca_file(),
                .virtual_host = settings_.s3_is_virtual_host()};
      }
    }
    report_nothing_found();
  }

  Credentials find_at(CredentialOrigin wanted) {
    for (const auto& [step, origin, source] : kSteps) {
      if (origin != wanted) continue;
      if (auto found = (this->*step)()) return *found;
    }
    throw Error(EACCES, why_no_instance_.empty()
                            ? "they are not there any more"
                            : fmt::format("the EC2 metadata service: {}", why_no_instance_));
  }

 private:
  using Found = std::optional<Credentials>;
  struct Step {
    Found (Chain::*look)();
    CredentialOrigin origin;
    const char* source;
  };
  static const std::array<Step, 7> kSteps;

  Found from_parameters() {
    const CredentialParameters& given = parameters_;
    const bool any =
        !given.access_key.empty() || !given.secret_key.empty() || !given.session_token.empty();
    if (given.anonymous) {
      if (any) throw Error(EINVAL, "anonymous: there must be no access-key beside it");
      return Credentials();
    }
    if (!any) return std::nullopt;
    if (given.access_key.empty() || given.secret_key.empty()) {
      throw Error(EINVAL, "access-key and secret-key must be given together");
    }
    return Credentials{given.access_key, given.secret_key, given.session_token};
  }

  Found from_environment() {
    if (!parameters_.profile.empty()) return std::nullopt;
    return credentials_of_environment(settings_.environment());
  }

  Found from_role() {
    require_profile();
    const Profile* const profile = settings_.profile();
    return profile == nullptr ? std::nullopt : of_profile_.of_role(*profile);
  }

  // As in boto3, the environment can give a part of the settings and the profile the others.
  Found from_web_identity() {
    if (!parameters_.profile.empty()) return std::nullopt;
    const std::string token_path =
        settings_.setting("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file");
    if (token_path.empty()) return std::nullopt;
    RoleRequest role =
        settings_.profile() == nullptr ? RoleRequest() : role_of(*settings_.profile());
    role.role_arn = settings_.setting("AWS_ROLE_ARN", "role_arn");
    role.session_name = settings_.setting("AWS_ROLE_SESSION_NAME", "role_session_name");
    if (role.role_arn.empty()) {
      throw Error(EINVAL,
                  "AWS_WEB_IDENTITY_TOKEN_FILE (web_identity_token_file in a profile) needs "
                  "AWS_ROLE_ARN (role_arn), too");
    }
    return assume_role_with_web_identity(role, settings_.environment().expand_home(token_path),
                                         settings_);
  }

  Found from_profile() {
    require_profile();
    const Profile* const profile = settings_.profile();
    return profile == nullptr ? std::nullopt : of_profile_.of_others(*profile);
  }

  Found from_container() { return credentials_of_container(settings_); }

  Found from_instance() { return credentials_of_instance(settings_, why_no_instance_); }

  // Called only when the search reaches the profile: a user with credentials in the environment
  // need not clear AWS_PROFILE.
  void require_profile() const {
    const std::string& name = settings_.profile_name();
    const SharedConfig& config = settings_.config();
    if (settings_.profile() != nullptr || name == "default") return;
    if (!config.fault().empty()) {
      throw Error(EACCES, fmt::format("profile \"{}\" is not found, but {}", name, config.fault()));
    }
    throw Error(EINVAL, fmt::format("profile \"{}\" exists neither in {} nor in {}", name,
                                    config.credentials_path(), config.config_path()));
  }

  [[nodiscard]] std::string named(const char* source) const {
    if (parameters_.anonymous) return "nowhere (anonymous)";
    return fmt::format(fmt::runtime(source), settings_.profile_name());
  }

  [[noreturn]] void report_nothing_found() const {
    const SharedConfig& config = settings_.config();
    throw Error(
        EACCES,
        fmt::format("no credentials found: looked at the parameters access-key and "
                    "secret-key, {}profile \"{}\" in {} and {}, "
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and "
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI, and the EC2 metadata service ({}); "
                    "a public bucket is opened with anonymous=true",
                    parameters_.profile.empty()
                        ? "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, "
                          "AWS_WEB_IDENTITY_TOKEN_FILE, "
                        : "",
                    settings_.profile_name(), config.credentials_path(),
                    config.config_path() +
                        (config.fault().empty() ? "" : fmt::format(" ({})", config.fault())),
                    why_no_instance_));
  }

  const CredentialParameters& parameters_;
  const AwsSettings settings_;
  ProfileCredentials of_profile_;
  std::string why_no_instance_;
};

const std::array<Chain::Step, 7> Chain::kSteps{{
    {&Chain::from_parameters, CredentialOrigin::parameters, "the parameter access-key"},
    {&Chain::from_environment, CredentialOrigin::environment,
     "AWS_ACCESS_KEY_ID in the environment"},
    {&Chain::from_role, CredentialOrigin::profile, "the role of profile \"{}\""},
    {&Chain::from_web_identity, CredentialOrigin::web_identity,
     "the web identity of the environment or of profile \"{}\""},
    {&Chain::from_profile, CredentialOrigin::profile, "profile \"{}\""},
    {&Chain::from_container, CredentialOrigin::container, "the container's credentials endpoint"},
    {&Chain::from_instance, CredentialOrigin::instance, "the EC2 metadata service"},
}};

}  // namespace

Identity find_identity(const CredentialParameters& parameters, const Environment& environment) {
  return Chain(parameters, environment).find();
}

Credentials find_again(const CredentialParameters& parameters, const Environment& environment,
                       CredentialOrigin origin) {
  return Chain(parameters, environment).find_at(origin);
}

}  // namespace nbdstack
