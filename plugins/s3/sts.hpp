// Temporary credentials from AWS's Security Token Service, or from a service that speaks its
// protocol: AssumeRole, AssumeRoleWithWebIdentity (API version 2011-06-15).
//
// The endpoint is AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, or that of the region. Everything goes in
// the body of a POST: neither tokens nor external ids get into a URL. What may pass (see retry.hpp)
// is tried four times within 20 seconds.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/credentials.hpp"
#include "plugins/s3/surroundings.hpp"

namespace nbdstack {

struct RoleRequest {
  std::string role_arn;
  std::string session_name;            // empty: made from the time
  std::string external_id;             // empty: none; AssumeRole only
  std::optional<unsigned> duration_s;  // nothing: what the service takes, an hour
};

// Both throw Error, which names the action, the role and the service's reason; EACCES where the
// service refuses.
Credentials assume_role(const RoleRequest& role, const Credentials& as, const std::string& region,
                        const Surroundings& surroundings);
// `token_path` is read anew each time: tokens are replaced in their file.
Credentials assume_role_with_web_identity(const RoleRequest& role, const std::string& token_path,
                                          const std::string& region,
                                          const Surroundings& surroundings);

}  // namespace nbdstack
