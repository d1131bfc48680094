// The credentials of a role that a profile has by single sign-on (IAM Identity Center).
//
//   settings in the profile                      other settings
//   sso_account_id, sso_role_name, sso_session   [sso-session NAME]: sso_start_url, sso_region
//   sso_account_id, sso_role_name                in the profile itself: sso_start_url, sso_region
//
// GetRoleCredentials is sent to https://portal.sso.REGION.amazonaws.com (or the endpoint of
// AWS_ENDPOINT_URL_SSO and the like, see aws_settings.hpp) with the token of sso_token.hpp.
#pragma once

#include <optional>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

// Returns nothing if the profile has neither sso_account_id nor sso_role_name. Throws Error(EINVAL)
// that names the settings that are missing or contradict each other, and Error(EACCES) if signing
// in again helps or the service refuses.
std::optional<Credentials> credentials_of_single_sign_on(const Profile& profile,
                                                         const AwsSettings& settings);

}  // namespace nbdstack
