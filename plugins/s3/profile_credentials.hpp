// The credentials of one profile of the shared files, by whatever means it names.
//
//   setting in the profile                       where the credentials come from
//   role_arn, source_profile                     AssumeRole, with the other profile's credentials
//   role_arn, credential_source                  AssumeRole, with those of the Environment, the
//                                                EcsContainer or the Ec2InstanceMetadata
//   role_arn, web_identity_token_file            AssumeRoleWithWebIdentity
//   aws_access_key_id, aws_secret_access_key     the keys themselves: in the credentials file, or
//                                                after credential_process in the config file
//   credential_process                           a program's output
//
// That is also the order in which they count, as with the AWS CLI. A profile that is the source of
// a role counts its own keys before its own role; a role may name its own profile as the source of
// the keys in it. Chains of roles may be of any length but not come back to where they were.
//
// Refused by name, with the way out: mfa_serial (nobody can be asked for a code) and single sign-on
// (sso_session, sso_start_url, login_session), unless the profile has credentials of another kind
// as well.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plugins/s3/credentials.hpp"
#include "plugins/s3/shared_config.hpp"
#include "plugins/s3/surroundings.hpp"

namespace nbdstack {

// Nothing where neither variable is set. Error(EINVAL) where one of them is missing.
std::optional<Credentials> credentials_of_environment(const Surroundings& surroundings);

class ProfileCredentials {
 public:
  // What is passed in must outlive it. `region` is where STS is asked.
  ProfileCredentials(const SharedConfig& config, const Surroundings& surroundings,
                     std::string region)
      : config_(config), surroundings_(surroundings), region_(std::move(region)) {}

  // Throws Error that names the profile and the setting, or what the source throws. Nothing where
  // the profile has no such settings.
  std::optional<Credentials> of_role(const Profile& profile);    // the first two lines above
  std::optional<Credentials> of_others(const Profile& profile);  // the rest

 private:
  Credentials of_source(const Profile& profile, const std::string& role_profile);
  Credentials assume(const Profile& profile);
  std::optional<Credentials> of_keys(const Profile& profile, const ProfileSettings& settings,
                                     const std::string& path) const;
  Credentials named_source(const Profile& profile, const std::string& source) const;

  const SharedConfig& config_;
  const Surroundings& surroundings_;
  const std::string region_;
  std::vector<std::string> chain_;  // the profiles whose roles are being assumed, outermost first
};

}  // namespace nbdstack
