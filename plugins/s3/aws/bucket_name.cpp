#include "plugins/s3/aws/bucket_name.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "common/error.hpp"
#include "plugins/s3/aws/aws_domain.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::string_view kArn = "arn:";
constexpr std::string_view kForm = "arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME";

[[noreturn]] void reject(std::string_view arn, std::string_view reason) {
  throw Error(EINVAL, fmt::format("bucket: {}: {}", arn, reason));
}

bool can_be_label(std::string_view text) {
  constexpr std::size_t kLabel_chars_max = 63;
  return !text.empty() && text.size() <= kLabel_chars_max &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isdigit(c) != 0 || std::islower(c) != 0 || c == '-';
         });
}

bool is_account(std::string_view text) {
  constexpr std::size_t kAccount_digits = 12;
  return text.size() == kAccount_digits &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Returns the five parts before the resource, and the resource.
std::array<std::string, 6> parts_of(std::string_view arn) {
  std::array<std::string, 6> parts;
  std::string_view rest = arn;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    const std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos)
      reject(arn, fmt::format("it is not of the form {}", kForm));
    parts.at(i) = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
  }
  parts.back() = rest;
  return parts;
}

// An access point's name contains no slash: the key begins after one. Its separator may be a slash,
// too.
std::size_t end_of_arn(std::string_view text) {
  std::size_t resource = 0;
  for (int colons = 0; colons < 5; ++colons) {
    resource = text.find(':', resource);
    if (resource == std::string_view::npos) return text.size();
    ++resource;
  }
  const std::size_t separator = text.find_first_of(":/", resource);
  return separator == std::string_view::npos ? text.size()
                                             : std::min(text.find('/', separator + 1), text.size());
}

}  // namespace

BucketAndKey split_bucket(std::string_view text) {
  if (text.starts_with(kScheme)) text.remove_prefix(kScheme.size());
  const std::size_t end = is_arn(text) ? end_of_arn(text) : std::min(text.find('/'), text.size());
  std::string_view key = text.substr(std::min(end + 1, text.size()));
  while (key.ends_with('/')) key.remove_suffix(1);
  return {.bucket = std::string(text.substr(0, end)), .key = std::string(key)};
}

bool is_arn(std::string_view bucket) {
  return bucket.starts_with(kArn);
}

AccessPoint parse_access_point(const std::string& arn) {
  const auto [arn_word, partition, service, region, account, resource] = parts_of(arn);
  if (service == "s3-object-lambda") {
    reject(arn, "Object Lambda changes what is read: give the access point or bucket below it");
  }
  if (service == "s3-outposts") {
    reject(arn, "access points of S3 on Outposts are not supported");
  }
  if (service != "s3") reject(arn, fmt::format("it is not S3's: {}", kForm));
  const std::size_t separator = resource.find_first_of(":/");
  const std::string name =
      separator == std::string::npos ? std::string() : resource.substr(separator + 1);
  if (resource.substr(0, separator) != "accesspoint") {
    reject(arn, fmt::format("it is no access point's ({}); a bucket is given by its name", kForm));
  }
  if (region.empty()) {
    reject(arn,
           "access points of many regions want another signature (SigV4A), which is not "
           "supported: give the bucket, or its access point in one region");
  }
  if (!can_be_label(region)) reject(arn, fmt::format("'{}' is no name of a region", region));
  if (aws_partition_of(region).name != partition) {
    reject(arn, fmt::format("region {} is of partition {}", region, aws_partition_of(region).name));
  }
  if (!is_account(account)) reject(arn, "the account must have 12 digits");
  if (!can_be_label(name)) {
    reject(arn, "an access point's name has lower-case letters, digits and '-' only");
  }
  return {.name = name, .account = account, .region = region};
}

std::optional<std::string> zone_of_directory_bucket(std::string_view bucket) {
  constexpr std::string_view kEnd = "--x-s3";
  constexpr std::string_view kBetween = "--";
  if (!bucket.ends_with(kEnd)) return std::nullopt;
  bucket.remove_suffix(kEnd.size());
  const std::size_t between = bucket.rfind(kBetween);
  if (between == std::string_view::npos || between == 0) return std::nullopt;
  const std::string_view zone = bucket.substr(between + kBetween.size());
  return can_be_label(zone) ? std::optional<std::string>(zone) : std::nullopt;
}

}  // namespace nbdstack
