// Where credentials are looked for, and in which order.
//
//   1. parameters     access-key, secret-key, session-token; or anonymous
//   2. environment    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SECURITY_TOKEN or
//                     AWS_SESSION_TOKEN
//   3. profile        a role of the profile's: role_arn with source_profile or credential_source
//   4. web identity   AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, each of
//                     which the profile can say as well
//   5. profile        everything else in it (profile_credentials.hpp)
//   6. container      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (credential_http.hpp)
//   7. instance       the metadata service of EC2
//
// The parameter `profile` asks for the files by name: 2 and the environment's part of 4 are not
// looked at then. AWS_DEFAULT_PROFILE or AWS_PROFILE, in this order, only say which profile 3 and 5
// mean. This is the order that the AWS CLI documents ("Configuration and credential precedence") and
// botocore implements (create_credential_resolver), where roles and web identity come before keys
// that stand in files.
//
// The first that is there counts, and if it fails there is an error: going on would end in another
// identity than the one asked for. Half a key pair is an error, too. A profile that is named must
// exist, "default" need not.
//
// Region, endpoint and CA file are found at the same time, see aws_settings.hpp.
//
// Secrets appear in no message.
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
  std::string source;  // where the credentials were found, for messages
  // As environment and profile have them; empty: they have none.
  ConfiguredUrl endpoint{};
  std::string ca_file{};
  bool virtual_host = false;
};

// Throws Error(EACCES) that lists where was looked when there are no credentials, Error(EINVAL) for
// what was set up wrongly, and what the source throws that fails.
Identity find_identity(const CredentialParameters& parameters, const Environment& environment);

// New credentials from where the first ones came from, and from nowhere else. Files, environment
// and services are read anew. Throws as above.
Credentials find_again(const CredentialParameters& parameters, const Environment& environment,
                       CredentialOrigin origin);

}  // namespace nbdstack
