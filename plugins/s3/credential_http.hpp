// Credentials that the machine's own surroundings hand out over HTTP: the container's endpoint
// (ECS, EKS Pod Identity) and the instance metadata service of EC2.
//
// Whoever hears these requests gets the credentials. Therefore the container's endpoint must be
// https, this machine (loopback) or one of the fixed link-local addresses of ECS and EKS, and of
// the metadata service only version 2 is used, which begins with a PUT that proxies and misled web
// servers do not pass on.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/credentials.hpp"
#include "plugins/s3/surroundings.hpp"

namespace nbdstack {

// Nothing where neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (at 169.254.170.2) nor
// AWS_CONTAINER_CREDENTIALS_FULL_URI is set. AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, read anew each
// time, or else AWS_CONTAINER_AUTHORIZATION_TOKEN is sent along. What may pass is tried three times
// within 10 seconds. Throws Error that names the variable and the reason.
std::optional<Credentials> credentials_of_container(const Surroundings& surroundings);

// Of the role of this EC2 instance. Nothing, and the reason in `why_not`, where there is no
// metadata service that gives a token, no role, or AWS_EC2_METADATA_DISABLED is "true". A machine
// outside of EC2 finds that out within 3 seconds: connecting gets one, and is tried twice.
// AWS_EC2_METADATA_SERVICE_ENDPOINT (a URL) names another place, and
// AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6 the IPv6 address. Throws Error for a service that is
// there and fails.
std::optional<Credentials> credentials_of_instance(const Surroundings& surroundings,
                                                   std::string& why_not);

}  // namespace nbdstack
