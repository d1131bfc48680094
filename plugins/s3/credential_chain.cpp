#include "plugins/s3/credential_chain.hpp"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/credential_http.hpp"
#include "plugins/s3/profile_credentials.hpp"
#include "plugins/s3/shared_config.hpp"
#include "plugins/s3/sts.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kDefaultRegion = "us-east-1";

class Chain {
 public:
  Chain(const CredentialParameters& parameters, const Surroundings& surroundings)
      : parameters_(parameters),
        surroundings_(surroundings),
        config_(SharedConfig::read(surroundings)),
        profile_name_(name_of_profile()),
        profile_(find_profile()),
        region_(find_region()),
        of_profile_(config_, surroundings, region_) {}

  [[nodiscard]] const std::string& region() const { return region_; }

  Identity find() {
    for (const auto& [step, origin, source] : kSteps) {
      if (auto found = (this->*step)()) {
        return {*found, region_, origin, named(source), endpoint_url(), ca_file()};
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
    return credentials_of_environment(surroundings_);
  }

  Found from_role() {
    require_profile();
    return profile_ == nullptr ? std::nullopt : of_profile_.of_role(*profile_);
  }

  Found from_web_identity() {
    const std::string token_path = surroundings_.variable("AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!parameters_.profile.empty() || token_path.empty()) return std::nullopt;
    const RoleRequest role{.role_arn = surroundings_.variable("AWS_ROLE_ARN"),
                           .session_name = surroundings_.variable("AWS_ROLE_SESSION_NAME"),
                           .external_id = {},
                           .duration_s = {}};
    if (role.role_arn.empty()) {
      throw Error(EINVAL,
                  "AWS_WEB_IDENTITY_TOKEN_FILE is set in the environment, which needs "
                  "AWS_ROLE_ARN, too");
    }
    return assume_role_with_web_identity(role, token_path, region_, surroundings_);
  }

  Found from_profile() {
    require_profile();
    return profile_ == nullptr ? std::nullopt : of_profile_.of_others(*profile_);
  }

  Found from_container() { return credentials_of_container(surroundings_); }

  Found from_instance() { return credentials_of_instance(surroundings_, why_no_instance_); }

  [[nodiscard]] std::string name_of_profile() const {
    std::string name = parameters_.profile;
    if (name.empty()) name = surroundings_.variable("AWS_DEFAULT_PROFILE");
    if (name.empty()) name = surroundings_.variable("AWS_PROFILE");
    return name.empty() ? "default" : name;
  }

  [[nodiscard]] const Profile* find_profile() const { return config_.find(profile_name_); }

  // Only when the search has come as far as the profile: who has credentials in the environment
  // need not clear AWS_PROFILE.
  void require_profile() const {
    if (profile_ != nullptr || profile_name_ == "default") return;
    if (!config_.fault().empty()) {
      throw Error(EACCES, fmt::format("profile \"{}\" is not found, but {}", profile_name_,
                                      config_.fault()));
    }
    throw Error(EINVAL, fmt::format("profile \"{}\" exists neither in {} nor in {}", profile_name_,
                                    config_.credentials_path(), config_.config_path()));
  }

  [[nodiscard]] std::string find_region() const {
    std::string region = parameters_.region;
    if (region.empty()) region = surroundings_.variable("AWS_REGION");
    if (region.empty()) region = surroundings_.variable("AWS_DEFAULT_REGION");
    if (region.empty() && profile_ != nullptr) region = profile_->setting("region");
    return region.empty() ? std::string(kDefaultRegion) : region;
  }

  [[nodiscard]] std::string endpoint_url() const {
    const auto is_true = [](const std::string& text) { return text == "true" || text == "True"; };
    if (profile_ == nullptr ||
        is_true(surroundings_.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")) ||
        is_true(profile_->setting("ignore_configured_endpoint_urls"))) {
      return {};
    }
    return config_.service_setting(*profile_, "s3", "endpoint_url");
  }

  [[nodiscard]] std::string ca_file() const {
    return profile_ == nullptr ? std::string()
                               : surroundings_.expand_home(profile_->setting("ca_bundle"));
  }

  [[nodiscard]] std::string named(const char* source) const {
    if (parameters_.anonymous) return "nowhere (anonymous)";
    return fmt::format(fmt::runtime(source), profile_name_);
  }

  [[noreturn]] void report_nothing_found() const {
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
                    profile_name_, config_.credentials_path(),
                    config_.config_path() +
                        (config_.fault().empty() ? "" : fmt::format(" ({})", config_.fault())),
                    why_no_instance_));
  }

  const CredentialParameters& parameters_;
  const Surroundings& surroundings_;
  const SharedConfig config_;
  const std::string profile_name_;
  const Profile* const profile_;  // null: neither file has it
  const std::string region_;
  ProfileCredentials of_profile_;
  std::string why_no_instance_;
};

const std::array<Chain::Step, 7> Chain::kSteps{{
    {&Chain::from_parameters, CredentialOrigin::parameters, "the parameter access-key"},
    {&Chain::from_environment, CredentialOrigin::environment,
     "AWS_ACCESS_KEY_ID in the environment"},
    {&Chain::from_role, CredentialOrigin::profile, "the role of profile \"{}\""},
    {&Chain::from_web_identity, CredentialOrigin::web_identity,
     "AWS_WEB_IDENTITY_TOKEN_FILE in the environment"},
    {&Chain::from_profile, CredentialOrigin::profile, "profile \"{}\""},
    {&Chain::from_container, CredentialOrigin::container, "the container's credentials endpoint"},
    {&Chain::from_instance, CredentialOrigin::instance, "the EC2 metadata service"},
}};

}  // namespace

Identity find_identity(const CredentialParameters& parameters, const Surroundings& surroundings) {
  return Chain(parameters, surroundings).find();
}

Credentials find_again(const CredentialParameters& parameters, const Surroundings& surroundings,
                       CredentialOrigin origin) {
  return Chain(parameters, surroundings).find_at(origin);
}

}  // namespace nbdstack
