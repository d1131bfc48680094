// The forms of a bucket's name.
//
//   NAME                                                 a bucket, or an access point's alias
//   NAME--ZONE--x-s3                                     a directory bucket of S3 Express One Zone
//   arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME     an access point; also accesspoint:NAME
//
// Each may begin with s3:// and be followed by /KEY.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nbdstack {

// The bucket's name, in one of the forms above, and the key after it; both may be empty. An ARN is
// not checked here.
struct BucketAndKey {
  std::string bucket;
  std::string key;
};
BucketAndKey split_bucket(std::string_view text);

// https://NAME-ACCOUNT.s3-accesspoint.REGION.DOMAIN
struct AccessPoint {
  std::string name;
  std::string account;
  std::string region;

  // Returns the label that stands before the host, in place of a bucket.
  [[nodiscard]] std::string label() const { return name + "-" + account; }
};

bool is_arn(std::string_view bucket);

// Throws Error(EINVAL) that names the parameter `bucket` if the ARN is malformed, or if it names a
// resource that does not take the requests of a bucket: Object Lambda, Outposts, and access points
// of many regions, which need another signature.
AccessPoint parse_access_point(const std::string& arn);

// Returns the zone in the name of a directory bucket, or nothing for any other bucket.
std::optional<std::string> zone_of_directory_bucket(std::string_view bucket);

}  // namespace nbdstack
