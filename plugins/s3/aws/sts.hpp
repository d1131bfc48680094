// Temporary credentials from AWS's Security Token Service, or from a service that speaks its
// protocol: AssumeRole, AssumeRoleWithWebIdentity (API version 2011-06-15).
//
// The endpoint is the configured one (aws_settings.hpp), or else that of the region. It is the
// global one, https://sts.amazonaws.com, only if AWS_STS_REGIONAL_ENDPOINTS or
// sts_regional_endpoints is "legacy", and the region is one of those that it serves. The parameters
// travel in the body of a POST: neither tokens nor external ids get into a URL.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

struct RoleRequest {
  std::string role_arn;
  std::string session_name;            // if empty, made from the time
  std::string external_id;             // empty if there is none; AssumeRole only
  std::optional<unsigned> duration_s;  // nothing for the service's default, an hour
};

// Both throw Error, which names the action, the role and the service's reason; EACCES if the
// service refuses.
Credentials assume_role(const RoleRequest& role, const Credentials& as,
                        const AwsSettings& settings);
// The file `token_path` is read anew each time, because its token is replaced from time to time.
Credentials assume_role_with_web_identity(const RoleRequest& role, const std::string& token_path,
                                          const AwsSettings& settings);

}  // namespace nbdstack
