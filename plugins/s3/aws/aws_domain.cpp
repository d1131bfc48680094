#include "plugins/s3/aws/aws_domain.hpp"

#include <array>

namespace nbdstack {
namespace {

struct Row {
  std::string_view region_prefix;
  AwsPartition partition;
};

// The last row matches every region.
constexpr std::array<Row, 8> kPartitions{{
    {"cn-", {"aws-cn", "amazonaws.com.cn"}},
    {"us-gov-", {"aws-us-gov", "amazonaws.com"}},
    {"eusc-", {"aws-eusc", "amazonaws.eu"}},
    {"us-iso-", {"aws-iso", "c2s.ic.gov"}},
    {"us-isob-", {"aws-iso-b", "sc2s.sgov.gov"}},
    {"eu-isoe-", {"aws-iso-e", "cloud.adc-e.uk"}},
    {"us-isof-", {"aws-iso-f", "csp.hci.ic.gov"}},
    {"", {"aws", "amazonaws.com"}},
}};

}  // namespace

AwsPartition aws_partition_of(std::string_view region) {
  for (const Row& row : kPartitions) {
    if (region.starts_with(row.region_prefix)) return row.partition;
  }
  return kPartitions.back().partition;
}

std::string_view aws_domain_around(std::string_view host) {
  for (const Row& row : kPartitions) {
    const std::string_view domain = row.partition.domain;
    if (host.size() > domain.size() && host.ends_with(domain) &&
        host[host.size() - domain.size() - 1] == '.') {
      return domain;
    }
  }
  return {};
}

}  // namespace nbdstack
