#include "plugins/s3/aws_domain.hpp"

#include <array>
#include <utility>

namespace nbdstack {

std::string_view aws_domain_of(std::string_view region) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kDomains{{
      {"cn-", "amazonaws.com.cn"},
      {"eusc-", "amazonaws.eu"},
      {"us-iso-", "c2s.ic.gov"},
      {"us-isob-", "sc2s.sgov.gov"},
      {"eu-isoe-", "cloud.adc-e.uk"},
      {"us-isof-", "csp.hci.ic.gov"},
  }};
  for (const auto& [prefix, domain] : kDomains) {
    if (region.starts_with(prefix)) return domain;
  }
  return "amazonaws.com";
}

}  // namespace nbdstack
