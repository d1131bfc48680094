// The credentials of one profile of the shared files, from the source that the profile sets.
//
//   setting in the profile                       source of the credentials
//   role_arn, source_profile                     AssumeRole, with the other profile's credentials
//   role_arn, credential_source                  AssumeRole, with those of the Environment, the
//                                                EcsContainer or the Ec2InstanceMetadata
//   role_arn, web_identity_token_file            AssumeRoleWithWebIdentity
//   sso_account_id, sso_role_name                a role by single sign-on (single_sign_on.hpp)
//   aws_access_key_id, aws_secret_access_key     the keys themselves: in the credentials file, or
//                                                after credential_process in the config file
//   credential_process                           a program's output
//
// They are used in this order, as by the AWS CLI. For a profile that is the source of a role its
// own keys precede its own role; a role may name its own profile as the source of the keys in it.
// Chains of roles may have any length but no cycle.
//
// Errors that name the way out: mfa_serial (a server cannot prompt for a code), and profiles with
// only login_session, or with sso_session but without an account and a role.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "plugins/s3/aws/shared_config.hpp"
#include "plugins/s3/aws/sts.hpp"

namespace nbdstack {

// Reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and AWS_SECURITY_TOKEN (the older name) or
// AWS_SESSION_TOKEN. Returns nothing if neither key is set. Throws Error(EINVAL) if one is missing.
std::optional<Credentials> credentials_of_environment(const Environment& environment);

// Returns the role that a profile names. Throws Error(EINVAL) if duration_seconds is no number.
RoleRequest role_of(const Profile& profile);

class ProfileCredentials {
 public:
  // `settings` outlives this.
  explicit ProfileCredentials(const AwsSettings& settings) : settings_(settings) {}

  // Both throw Error that names the profile and the setting; exceptions of the source propagate.
  // Both return nothing if the profile has no such settings.
  std::optional<Credentials> of_role(const Profile& profile);    // the first two lines above
  std::optional<Credentials> of_others(const Profile& profile);  // the rest

 private:
  Credentials of_source(const Profile& profile, const std::string& role_profile);
  Credentials assume(const Profile& profile);
  std::optional<Credentials> of_keys(const Profile& profile, const ProfileSettings& settings,
                                     const std::string& path) const;
  Credentials named_source(const Profile& profile, const std::string& source) const;

  const AwsSettings& settings_;
  std::vector<std::string> chain_;  // the profiles whose roles are being assumed, outermost first
};

}  // namespace nbdstack
