#include "plugins/s3/store/service/bucket_location.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "common/log.hpp"
#include "common/quoted_name.hpp"
#include "plugins/s3/aws/aws_domain.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kRegion_chars_max = 64;

// A region becomes part of a host name, or of the scope of a signature.
bool can_be_region(std::string_view text) {
  return !text.empty() && text.size() <= kRegion_chars_max &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Returns "HOST:PORT" or "HOST", in lower case, of "https://HOST:PORT/PATH", "HOST/PATH" or "HOST".
std::string authority_of(std::string_view text) {
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    text.remove_prefix(scheme + 3);
  }
  return lower_case(std::string(text.substr(0, text.find_first_of("/?#"))));
}

std::string without_port(const std::string& authority) {
  const std::size_t colon = authority.rfind(':');
  if (colon == std::string::npos) return authority;
  const bool is_in_brackets = authority.find(']', colon) != std::string::npos;  // of IPv6
  return is_in_brackets ? authority : authority.substr(0, colon);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 307 || status == 308;
}

bool is_same(const BucketPlace& one, const BucketPlace& other) {
  return one.address.host() == other.address.host() && one.scope.region == other.scope.region;
}

BucketPlace place_at(const BucketLocationConfig& config, const Endpoint& endpoint,
                     const std::string& region) {
  SigningScope scope = config.scope;
  scope.region = region;
  return {BucketAddress(endpoint, config.bucket, config.virtual_host), std::move(scope)};
}

}  // namespace

struct BucketLocation::Direction {
  std::string region;     // empty if the answer does not name it
  std::string authority;  // the bucket's host according to the answer; empty if it names none
  std::string words;      // the answer in words, for people
};

BucketLocation::BucketLocation(const BucketLocationConfig& config)
    : config_(config),
      place_(
          std::make_shared<BucketPlace>(place_at(config, config.endpoint, config.scope.region))) {}

std::shared_ptr<const BucketPlace> BucketLocation::current() const {
  const MutexLock lock(mutex_);
  return place_;
}

bool BucketLocation::learn(const BucketPlace& asked, const HttpResponse& response) {
  const auto direction = direction_in(asked, response);
  if (!direction.has_value()) return false;
  std::string why_not;
  auto there = place_of(asked, *direction, why_not);
  const std::string region = direction->region;
  std::string origin;
  {
    const MutexLock lock(mutex_);
    if (!is_same(asked, *place_)) return true;  // learnt since that request was sent
    if (is_learnt_ || !there.has_value()) return false;
    place_ = std::make_shared<BucketPlace>(std::move(*there));
    is_learnt_ = true;
    origin = place_->address.origin();
  }
  log::error(
      "bucket {} is in region {}, not in {}: from now on requests go to {} and are signed for that "
      "region; with region={} they do from the start",
      config_.bucket, region, asked.scope.region, origin, region);
  return true;
}

std::optional<std::string> BucketLocation::refusal(const BucketPlace& asked,
                                                   const HttpResponse& response) const {
  const auto direction = direction_in(asked, response);
  if (!direction.has_value()) return std::nullopt;
  std::string why_not;
  if (place_of(asked, *direction, why_not).has_value()) {
    why_not = fmt::format(
        "the bucket was to be in region {}, and there the service says {}: set region to where it "
        "is, and restart",
        asked.scope.region, direction->region);
  }
  return fmt::format("{} ({})", direction->words, why_not);
}

std::optional<BucketLocation::Direction> BucketLocation::direction_in(
    const BucketPlace& asked, const HttpResponse& response) {
  const bool redirects = is_redirect(response.status);
  if (!redirects && response.status != 400 && response.status != 403) return std::nullopt;
  const ServiceError error = parse_service_error(response.text);
  const std::string of_header = response.header("x-amz-bucket-region").value_or("");
  Direction direction{
      .region = of_header.empty() ? error.region : of_header,
      .authority = authority_of(error.endpoint.empty() ? response.header("location").value_or("")
                                                       : error.endpoint),
      .words = words_of(response.status, error)};
  if (direction.region.empty()) {
    direction.region = region_of_aws_host(without_port(direction.authority)).value_or("");
  }
  if (!can_be_region(direction.region)) direction.region.clear();
  if (redirects) return direction;
  // Some services tell their region with every error.
  const bool is_about_region = error.code == "AuthorizationHeaderMalformed" ||
                               error.code == "IllegalLocationConstraintException" ||
                               !of_header.empty();
  const bool is_news = !direction.region.empty() && direction.region != asked.scope.region;
  return is_about_region && is_news ? std::optional(std::move(direction)) : std::nullopt;
}

std::optional<BucketPlace> BucketLocation::place_of(const BucketPlace& asked,
                                                    const Direction& direction,
                                                    std::string& why_not) const {
  const std::string& region = direction.region;
  if (!direction.authority.empty() && !is_of_service(direction.authority)) {
    why_not = fmt::format(
        "it says that the bucket is at {}, which is no host of the service at {}, so that no "
        "credentials are sent there: set endpoint-url if this is where the bucket is",
        quotable(direction.authority), config_.endpoint.host);
    return std::nullopt;
  }
  if (region.empty()) {
    why_not = "it does not say in which region the bucket is: set region, or endpoint-url";
    return std::nullopt;
  }
  if (config_.is_fixed) {
    why_not = fmt::format("it says that the bucket is in region {}, and bucket that it is in {}",
                          region, asked.scope.region);
    return std::nullopt;
  }
  const bool is_aws = !aws_domain_around(config_.endpoint.host).empty();
  const std::string_view partition = aws_partition_of(home_region()).name;
  if (is_aws && aws_partition_of(region).name != partition) {
    why_not = fmt::format(
        "it says that the bucket is in region {}, which is not of the partition {}, so that no "
        "credentials are sent there: set region if this is where the bucket is",
        region, partition);
    return std::nullopt;
  }
  BucketPlace there =
      place_at(config_, config_.endpoint.in_region(region).value_or(config_.endpoint), region);
  if (is_same(asked, there)) {
    why_not = fmt::format(
        "it was asked in region {} already: set region, or endpoint-url, to where the bucket is",
        region);
    return std::nullopt;
  }
  return there;
}

// Returns the region in the host's name, if it has one, because the credentials are sent there.
std::string BucketLocation::home_region() const {
  return region_of_aws_host(config_.endpoint.host).value_or(config_.scope.region);
}

bool BucketLocation::is_of_service(const std::string& authority) const {
  const Endpoint& endpoint = config_.endpoint;
  if (endpoint.in_region(home_region()).has_value()) {
    return aws_domain_around(without_port(authority)) == aws_domain_around(endpoint.host);
  }
  const bool has_port = without_port(authority) != authority;
  const std::string ours = lower_case(
      has_port ? BucketAddress(endpoint, config_.bucket, /*virtual_host=*/false).host_header()
               : endpoint.host);
  return authority == ours || authority == lower_case(config_.bucket) + "." + ours;
}

}  // namespace nbdstack
