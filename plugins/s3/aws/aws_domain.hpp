// AWS's partitions, which share nothing with each other (accounts, credentials, regions), and their
// domains: https://SERVICE.REGION.DOMAIN. Source: botocore's partitions.
#pragma once

#include <string_view>

namespace nbdstack {

struct AwsPartition {
  std::string_view name;  // as ARNs have it: "aws", "aws-cn"
  std::string_view domain;
};

// Every region that no other partition claims is one of the usual partition's.
AwsPartition aws_partition_of(std::string_view region);

inline std::string_view aws_domain_of(std::string_view region) {
  return aws_partition_of(region).domain;
}

// The domain that a host is in; empty where it is none of AWS's.
std::string_view aws_domain_around(std::string_view host);

}  // namespace nbdstack
