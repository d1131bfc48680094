// The sources of credentials, and their order.
//
//   1. parameters     access-key, secret-key, session-token; or anonymous
//   2. environment    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SECURITY_TOKEN or
//                     AWS_SESSION_TOKEN
//   3. profile        a role in the profile: role_arn with source_profile or credential_source
//   4. web identity   AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, or the
//                     profile's settings for them
//   5. profile        everything else in it (profile_credentials.hpp)
//   6. container      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (credential_http.hpp)
//   7. instance       the metadata service of EC2
//
// With the parameter `profile`, 2 and the environment's part of 4 are skipped. AWS_DEFAULT_PROFILE
// or AWS_PROFILE, in this order, only name the profile for 3 and 5. This is the order that the AWS
// CLI documents ("Configuration and credential precedence") and botocore implements
// (create_credential_resolver): roles and web identity before keys in files.
//
// The first source that exists is used. Its failure is an error, because another source could be
// another identity; half a key pair is an error, too. A profile that is named must exist, "default"
// need not. Secrets appear in no message. aws_settings.hpp finds region, endpoint and CA file.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

enum class CredentialOrigin : std::uint8_t {
  parameters,
  environment,
  profile,
  web_identity,
  container,
  instance,
};

struct Identity {
  Credentials credentials;
  std::string region;
  CredentialOrigin origin = CredentialOrigin::parameters;
  std::string source;  // of the credentials, for messages
  // From environment and profile; empty if neither sets them.
  ConfiguredUrl endpoint{};
  std::string ca_file{};
  bool virtual_host = false;
};

// Throws Error(EACCES) with the sources tried if there are no credentials, Error(EINVAL) for a
// wrong setting, and the errors of a source that fails.
Identity find_identity(const CredentialParameters& parameters, const Environment& environment);

// Returns new credentials, from the source of the first ones only: files, environment and services
// are read again. Throws as above.
Credentials find_again(const CredentialParameters& parameters, const Environment& environment,
                       CredentialOrigin origin);

}  // namespace nbdstack
