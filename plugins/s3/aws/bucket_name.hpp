// The forms in which a bucket is named.
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

// The bucket's name, in one of the forms above, and what follows it; both may be empty. An ARN is
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

  // What takes a bucket's place before the host.
  [[nodiscard]] std::string label() const { return name + "-" + account; }
};

bool is_arn(std::string_view bucket);

// Throws Error(EINVAL) that names bucket for an ARN that is malformed, or of something that
// requests cannot be sent to as to a bucket: Object Lambda, Outposts, and access points of many
// regions, which want another signature.
AccessPoint parse_access_point(const std::string& arn);

// Of a directory bucket: the zone in its name. Nothing where it is none.
std::optional<std::string> zone_of_directory_bucket(std::string_view bucket);

}  // namespace nbdstack
