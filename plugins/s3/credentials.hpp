// Who we are towards the service, and in which region: found once, when the plugin is configured.
//
// Credentials are taken from the first of these that has an access key:
//   1. the parameters access-key, secret-key, session-token;
//   2. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN - unless the parameter `profile`
//      is given, which asks for the files by name;
//   3. the profile (parameter, AWS_PROFILE, else "default") in AWS_SHARED_CREDENTIALS_FILE (else
//      ~/.aws/credentials), then in AWS_CONFIG_FILE (else ~/.aws/config).
// A source with half a key pair is an error, not a reason to look on. The region comes from the
// parameter, AWS_REGION, AWS_DEFAULT_REGION, the profile, else it is us-east-1.
//
// Profiles that need a role, single sign-on or a helper program are recognised and refused by name.
// Secrets appear in no message.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace nbdstack {

struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // empty: none
};

// As the user gave them; empty: not given.
struct CredentialParameters {
  std::string access_key;
  std::string secret_key;
  std::string session_token;
  std::string profile;
  std::string region;
};

// The process's environment and files, behind a seam for tests.
struct Surroundings {
  // Nothing where the variable is not set.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Nothing where there is no such file. One that cannot be read is an Error.
  std::function<std::optional<std::string>(const std::string& path)> read_file;

  static Surroundings of_process();
};

struct Identity {
  Credentials credentials;
  std::string region;
  std::string source;  // where the credentials were found, for the log
};

// Throws Error(EACCES) that lists where was looked when there are no credentials, Error(EINVAL) for
// half ones and for a profile that does not exist or asks for what is not supported.
Identity find_identity(const CredentialParameters& parameters, const Surroundings& surroundings);

}  // namespace nbdstack
