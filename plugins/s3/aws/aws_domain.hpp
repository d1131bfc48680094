// The partitions of AWS and their domains: https://SERVICE.REGION.DOMAIN. Partitions share nothing
// with each other (accounts, credentials, regions). Source: botocore's partitions.
#pragma once

#include <string_view>

namespace nbdstack {

struct AwsPartition {
  std::string_view name;  // as in ARNs: "aws", "aws-cn"
  std::string_view domain;
};

// A region that no other partition claims belongs to the usual partition.
AwsPartition aws_partition_of(std::string_view region);

inline std::string_view aws_domain_of(std::string_view region) {
  return aws_partition_of(region).domain;
}

// Returns the domain of a host of AWS; empty for any other host.
std::string_view aws_domain_around(std::string_view host);

}  // namespace nbdstack
