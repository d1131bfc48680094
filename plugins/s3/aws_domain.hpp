// The domains of AWS's partitions: https://SERVICE.REGION.DOMAIN. Source: botocore's partitions.
#pragma once

#include <string_view>

namespace nbdstack {

// Every region that no partition claims is one of the usual partition's.
std::string_view aws_domain_of(std::string_view region);

}  // namespace nbdstack
