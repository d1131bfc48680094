// Credentials that the machine's own platform hands out over HTTP: the container's endpoint
// (ECS, EKS Pod Identity) and the instance metadata service of EC2.
//
// Whoever hears these requests gets the credentials. Therefore the container's endpoint must be
// https, this machine (loopback) or one of the fixed link-local addresses of ECS and EKS, and none
// of these requests goes through a proxy, whatever http_proxy and the like say: a proxy would hear
// them, and would answer for the metadata service of its own machine.
//
//   the metadata service answers the PUT for a token with   what is asked then
//   200 and a token                                         version 2: with the token
//   403, 404, 405; or it connects and stays silent, as      version 1: without one, unless
//   where a container is a hop too far away for the token   AWS_EC2_METADATA_V1_DISABLED or
//                                                           ec2_metadata_v1_disabled is true
//   anything else, and where nobody connects                nothing: there is no such service
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/aws/aws_settings.hpp"
#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

// Nothing where neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (at 169.254.170.2) nor
// AWS_CONTAINER_CREDENTIALS_FULL_URI is set. AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, read anew each
// time, or else AWS_CONTAINER_AUTHORIZATION_TOKEN is sent along. What may pass is tried three times
// within 10 seconds. Throws Error that names the variable and the reason.
std::optional<Credentials> credentials_of_container(const AwsSettings& settings);

// Of the role of this EC2 instance. Nothing, and the reason in `why_not`, where there is no
// metadata service (see above), no role, or AWS_EC2_METADATA_DISABLED is "true". A machine outside
// of EC2 finds that out within 3 seconds: connecting gets one, and is tried twice.
//
//   AWS_EC2_METADATA_SERVICE_ENDPOINT (a URL), ec2_metadata_service_endpoint     another place
//   AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6, ec2_metadata_service_endpoint_mode, or
//   AWS_IMDS_USE_IPV6=true, imds_use_ipv6                                        the IPv6 address
//   AWS_METADATA_SERVICE_TIMEOUT, metadata_service_timeout (seconds)             of a request
//   AWS_METADATA_SERVICE_NUM_ATTEMPTS, metadata_service_num_attempts             of each
//
// Throws Error for a setting that is none of these, and for a service that is there and fails.
std::optional<Credentials> credentials_of_instance(const AwsSettings& settings,
                                                   std::string& why_not);

}  // namespace nbdstack
