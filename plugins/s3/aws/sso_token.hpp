// The token of a single sign-on, in the cache of the AWS CLI: ~/.aws/sso/cache/SHA1.json, named by
// the SHA-1 of the session's name, or of the start URL for a profile without an [sso-session].
//
// The user signs in with the CLI; a server reads its file each time, so that no sign-in needs a
// restart.
//
//   the token ends in         it can be renewed (a session's, with    the token is
//                             refreshToken and a client registration
//                             that has not ended)
//   more than 15 minutes      yes or no                               used
//   less, or has ended        yes                                     renewed by the OIDC service
//                                                                     (CreateToken), written back
//   less                      no, or that failed                      used
//   has ended                 no, or that failed                      Error(EACCES): sign in again
//
// This is what botocore's SSOTokenProvider does. A renewal can invalidate the old refresh token,
// for the CLI, too. So the new one is written back, in one step and with mode 0600; if the file
// cannot be replaced, nothing is renewed. If another program (the CLI) renews it first, the file is
// read again.
#pragma once

#include <string>

#include "plugins/s3/aws/aws_settings.hpp"

namespace nbdstack {

struct SsoSession {
  std::string profile;  // for messages
  std::string name;     // empty if the profile has none
  std::string start_url;
  std::string region;
};

// Throws Error(EACCES), which names the profile and the command to sign in with. No message has a
// token.
std::string sso_token(const SsoSession& session, const AwsSettings& settings);

// Returns "; sign in with: aws sso login --profile NAME".
std::string sign_in_again(const std::string& profile);

}  // namespace nbdstack
