// How a bucket may be named.
#include "plugins/s3/aws/bucket_name.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

using testing::contains;

const std::string kArn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/disks";

TEST(BucketName, IsSplitFromTheKeyInEveryForm) {
  struct Form {
    std::string text;
    std::string bucket;
    std::string key;
  };
  for (const Form& form : {
           Form{"disk", "disk", ""},
           {"disk/a/b/", "disk", "a/b"},
           {"disk/", "disk", ""},
           {"s3://disk", "disk", ""},
           {"s3://disk/", "disk", ""},
           {"s3://disk/a/b", "disk", "a/b"},
           {"s3://", "", ""},
           {kArn, kArn, ""},
           {kArn + "/", kArn, ""},
           {kArn + "/a/b", kArn, "a/b"},
           {"s3://" + kArn + "/a", kArn, "a"},
           {"arn:aws:s3:eu-west-1:123456789012:accesspoint:disks/a",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint:disks", "a"},
           {"arn:aws:s3:::disk/a", "arn:aws:s3:::disk/a", ""},
           {"arn:aws", "arn:aws", ""},
       }) {
    const BucketAndKey split = split_bucket(form.text);
    EXPECT_EQ(split.bucket, form.bucket) << form.text;
    EXPECT_EQ(split.key, form.key) << form.text;
  }
}

TEST(BucketName, AnArnOfAnAccessPointTellsNameAccountAndRegion) {
  for (const char* arn : {"arn:aws:s3:eu-west-1:123456789012:accesspoint/disks",
                          "arn:aws:s3:eu-west-1:123456789012:accesspoint:disks"}) {
    const AccessPoint point = parse_access_point(arn);
    EXPECT_EQ(point.label(), "disks-123456789012");
    EXPECT_EQ(point.region, "eu-west-1");
  }
  EXPECT_EQ(parse_access_point("arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/x").region,
            "cn-north-1");
  EXPECT_EQ(parse_access_point("arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/x").region,
            "us-gov-west-1");
}

TEST(BucketName, OtherArnsAreRefusedWithAReason) {
  for (const auto& [arn, reason] : {
           std::pair{"arn:aws", "not of the form"},
           {"arn:aws:s3:::disk", "a bucket is given by its name"},
           {"arn:aws:sqs:eu-west-1:123456789012:accesspoint/x", "not S3's"},
           {"arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/x", "Object Lambda"},
           {"arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/x", "Outposts"},
           {"arn:aws:s3::123456789012:accesspoint/x.mrap", "SigV4A"},
           {"arn:aws:s3:eu-west-1:123456789012:accesspoint", "access point's name"},
           {"arn:aws:s3:eu-west-1:123456789012:accesspoint/", "access point's name"},
           {"arn:aws:s3:eu-west-1:123456789012:accesspoint/a.b", "access point's name"},
           {"arn:aws:s3:eu-west-1:123456789012:job/x", "no access point's"},
           {"arn:aws:s3:eu-west-1:12345:accesspoint/x", "12 digits"},
           {"arn:aws:s3:evil.example:123456789012:accesspoint/x", "no name of a region"},
           {"arn:aws:s3:cn-north-1:123456789012:accesspoint/x", "partition aws-cn"},
           {"arn:aws-cn:s3:eu-west-1:123456789012:accesspoint/x", "partition aws"},
       }) {
    try {
      parse_access_point(arn);
      ADD_FAILURE() << arn << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
      EXPECT_TRUE(contains(error.what(), "bucket: ")) << error.what();
      EXPECT_TRUE(contains(error.what(), reason)) << error.what();
    }
  }
}

TEST(BucketName, DirectoryBucketsTellTheirZone) {
  EXPECT_EQ(zone_of_directory_bucket("disk--use1-az4--x-s3"), "use1-az4");
  EXPECT_EQ(zone_of_directory_bucket("my--disk--usw2-lax1-az1--x-s3"), "usw2-lax1-az1");
  for (const char* bucket : {"disk", "disk--x-s3", "--use1-az4--x-s3", "disk----x-s3",
                             "disk--use1.az4--x-s3", "disk--use1-az4--x-s3x"}) {
    EXPECT_EQ(zone_of_directory_bucket(bucket), std::nullopt) << bucket;
  }
}

}  // namespace
}  // namespace nbdstack
