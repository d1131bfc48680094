// The credentials of a role that a profile has by single sign-on (IAM Identity Center).
//
//   in the profile                               beside it
//   sso_account_id, sso_role_name, sso_session   [sso-session NAME]: sso_start_url, sso_region
//   sso_account_id, sso_role_name                in the profile itself: sso_start_url, sso_region
//
// GetRoleCredentials is asked at https://portal.sso.REGION.amazonaws.com (or where
// AWS_ENDPOINT_URL_SSO and the like lead, see aws_settings.hpp) with the token of sso_token.hpp.
#pragma once

#include <optional>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

// Nothing where the profile has neither sso_account_id nor sso_role_name. Throws Error(EINVAL) that
// names the settings that are missing or contradict each other, Error(EACCES) where signing in
// again helps or the service refuses.
std::optional<Credentials> credentials_of_single_sign_on(const Profile& profile,
                                                         const AwsSettings& settings);

}  // namespace nbdstack
