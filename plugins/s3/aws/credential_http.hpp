// Credentials of the machine's own platform, over HTTP: from the container's endpoint (ECS, EKS Pod
// Identity) or the instance metadata service of EC2.
//
// The receiver of these requests could get the credentials. So the container's endpoint must be
// https, this machine (loopback) or a fixed link-local address of ECS and EKS. No proxy is used,
// whatever http_proxy and the like are: the metadata service of the proxy's machine would answer.
//
//   the metadata service answers the PUT for a token with   next
//   200 and a token                                         version 2: with the token
//   403, 404, 405; or it connects and stays silent, as to   version 1: without one, unless
//   a container one hop too far away for the token          AWS_EC2_METADATA_V1_DISABLED or
//                                                           ec2_metadata_v1_disabled is true
//   anything else, or does not connect                      none: there is no such service
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

// Returns nothing if neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (at 169.254.170.2) nor
// AWS_CONTAINER_CREDENTIALS_FULL_URI is set. Sends the token in
// AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, read each time, or AWS_CONTAINER_AUTHORIZATION_TOKEN.
// Tries three times within 10 seconds if a failure may pass. Throws Error with the variable and the
// reason.
std::optional<Credentials> credentials_of_container(const AwsSettings& settings);

// Returns the credentials of this EC2 instance's role. Returns nothing, and the reason in
// `why_not`, if there is no metadata service (see above) or no role, or AWS_EC2_METADATA_DISABLED
// is "true". This takes up to 3 seconds outside of EC2: two attempts to connect of a second each.
//
//   AWS_EC2_METADATA_SERVICE_ENDPOINT, ec2_metadata_service_endpoint      the URL
//   AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6,
//   ec2_metadata_service_endpoint_mode, or
//   AWS_IMDS_USE_IPV6=true, imds_use_ipv6                                 the IPv6 address is used
//   AWS_METADATA_SERVICE_TIMEOUT, metadata_service_timeout                seconds for a request
//   AWS_METADATA_SERVICE_NUM_ATTEMPTS, metadata_service_num_attempts      attempts at each request
//
// Throws Error for any other value of these, and if the service exists and fails.
std::optional<Credentials> credentials_of_instance(const AwsSettings& settings,
                                                   std::string& why_not);

}  // namespace nbdstack
