#include "plugins/s3/aws/endpoint.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/aws/aws_domain.hpp"

namespace nbdstack {
namespace {

constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;

constexpr std::string_view kAlphanumeric =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool has_only(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return kAlphanumeric.find(c) != std::string_view::npos ||
           others.find(c) != std::string_view::npos;
  });
}

// The message does not repeat the URL, which may hold a password.
[[noreturn]] void reject_url(std::string_view source, std::string_view reason) {
  throw Error(EINVAL, fmt::format("{}: {}; expected http[s]://HOST[:PORT][/PATH]", source, reason));
}

std::uint16_t parse_port(std::string_view text, std::string_view source) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) {
    reject_url(source, "the port is not a number from 1 to 65535");
  }
  return static_cast<std::uint16_t>(port);
}

void parse_authority(std::string_view authority, std::string_view source, Endpoint& endpoint) {
  if (authority.find('@') != std::string_view::npos) {
    reject_url(source, "a user or password does not belong there (see access-key and secret-key)");
  }
  std::size_t host_end = authority.find(':');
  if (authority.starts_with('[')) {
    host_end = authority.find(']');
    if (host_end == std::string_view::npos) reject_url(source, "the IPv6 address lacks its ']'");
    ++host_end;
  }
  host_end = std::min(host_end, authority.size());
  const std::string_view rest = authority.substr(host_end);
  endpoint.host = authority.substr(0, host_end);
  const bool in_brackets = endpoint.host.starts_with('[');
  if (endpoint.host.empty()) reject_url(source, "the host is missing");
  if (!has_only(endpoint.host, in_brackets ? "[]:.%" : "-._")) {
    reject_url(source, "the host has characters that no host name has");
  }
  if (rest.empty()) return;
  if (rest.front() != ':') reject_url(source, "the host is followed by something that is no port");
  endpoint.port = parse_port(rest.substr(1), source);
}

// Returns the labels of a host below its domain.
std::vector<std::string> labels_below(std::string_view host, std::string_view domain) {
  std::vector<std::string> labels;
  std::string_view rest = host.substr(0, host.size() - domain.size() - 1);
  while (true) {
    const std::size_t dot = rest.find('.');
    labels.emplace_back(rest.substr(0, dot));
    if (dot == std::string_view::npos) return labels;
    rest.remove_prefix(dot + 1);
  }
}

// The parts of AWS's name of an S3 host: its beginning, and the region if it has one.
struct AwsHost {
  std::string front;  // "s3.", "s3.dualstack.", "s3-fips."
  std::string region;
};

std::optional<AwsHost> aws_host_of(std::vector<std::string> labels) {
  constexpr std::string_view kOldFront = "s3-";  // s3-REGION.DOMAIN
  AwsHost host;
  if (labels.size() == 1 && labels[0] != "s3-fips" && labels[0].starts_with(kOldFront)) {
    return AwsHost{.front = "s3.", .region = labels[0].substr(kOldFront.size())};
  }
  if (labels[0] != "s3" && labels[0] != "s3-fips") return std::nullopt;
  host.front = labels[0] + ".";
  labels.erase(labels.begin());
  if (!labels.empty() && labels[0] == "dualstack") {
    host.front += "dualstack.";
    labels.erase(labels.begin());
  }
  if (labels.size() > 1) return std::nullopt;
  if (!labels.empty()) host.region = labels[0];
  return host;
}

}  // namespace

Endpoint Endpoint::parse(const std::string& url, const std::string& source) {
  std::string_view rest = url;
  Endpoint endpoint;
  if (rest.starts_with("http://")) {
    endpoint.tls = false;
    endpoint.port = kHttpPort;
  } else if (!rest.starts_with("https://")) {
    reject_url(source, "the scheme is neither http nor https");
  }
  rest.remove_prefix(rest.find("//") + 2);
  const std::size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  parse_authority(rest.substr(0, authority_end), source, endpoint);
  std::string_view path = rest.substr(authority_end);
  if (!has_only(path, "/-._~"))
    reject_url(source, "the path may have letters, digits, '-._~' and '/' only");
  while (path.ends_with('/')) path.remove_suffix(1);
  endpoint.base_path = path;
  return endpoint;
}

Endpoint Endpoint::of_region(const std::string& region) {
  if (region.empty() || !has_only(region, "-")) {
    throw Error(EINVAL, fmt::format("region: \"{}\" is no name of a region", region));
  }
  Endpoint endpoint;
  endpoint.host = fmt::format("s3.{}.{}", region, aws_domain_of(region));
  return endpoint;
}

std::optional<Endpoint> Endpoint::in_region(const std::string& region) const {
  const std::string_view domain = aws_domain_around(host);
  if (domain.empty() || domain != aws_domain_of(region)) return std::nullopt;
  const auto here = aws_host_of(labels_below(host, domain));
  if (!here.has_value()) return std::nullopt;
  Endpoint there = *this;
  there.host = fmt::format("{}{}.{}", here->front, region, domain);
  return there;
}

std::optional<std::string> region_of_aws_host(const std::string& host) {
  const std::string_view domain = aws_domain_around(host);
  if (domain.empty()) return std::nullopt;
  std::vector<std::string> labels = labels_below(host, domain);
  for (; !labels.empty(); labels.erase(labels.begin())) {
    const auto found = aws_host_of(labels);
    if (found.has_value() && !found->region.empty()) return found->region;
  }
  return std::nullopt;
}

BucketAddress::BucketAddress(Endpoint endpoint, std::string bucket, bool virtual_host)
    : endpoint_(std::move(endpoint)), bucket_(std::move(bucket)), virtual_host_(virtual_host) {
  if (bucket_.empty()) throw Error(EINVAL, "bucket: the name is empty");
  // S3 allows fewer; older buckets and other services have upper case and underscores.
  if (!has_only(bucket_, "-._") || bucket_ == "." || bucket_ == "..") {
    throw Error(EINVAL,
                fmt::format("bucket: \"{}\" is no bucket's name: letters, digits, '-', '.', '_' "
                            "(a prefix for the objects is given with key)",
                            bucket_));
  }
  if (virtual_host_ && endpoint_.host.starts_with('[')) {
    throw Error(EINVAL, "virtual-host: a bucket cannot be put before an IPv6 address");
  }
  if (virtual_host_) endpoint_.host = fmt::format("{}.{}", bucket_, endpoint_.host);
}

std::string BucketAddress::origin() const {
  return fmt::format("{}://{}", endpoint_.tls ? "https" : "http", host_header());
}

std::string BucketAddress::host_header() const {
  const bool usual = endpoint_.port == (endpoint_.tls ? kHttpsPort : kHttpPort);
  return usual ? endpoint_.host : fmt::format("{}:{}", endpoint_.host, endpoint_.port);
}

std::string BucketAddress::path_of(const std::string& key) const {
  if (virtual_host_) return fmt::format("{}/{}", endpoint_.base_path, key);
  if (key.empty()) return fmt::format("{}/{}", endpoint_.base_path, bucket_);
  return fmt::format("{}/{}/{}", endpoint_.base_path, bucket_, key);
}

}  // namespace nbdstack
