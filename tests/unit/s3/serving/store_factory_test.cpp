// What endpoint-url means.
#include "plugins/s3/serving/store_factory.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "common/error.hpp"
#include "plugins/s3/store/directory/directory_store.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/aws/fake_environment.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

class StoreFactoryTest : public ::testing::Test {
 protected:
  StoreFactoryTest() {
    std::string path = ::testing::TempDir() + "store-factory-XXXXXX";
    directory_ = ::mkdtemp(path.data());
  }
  ~StoreFactoryTest() override { std::filesystem::remove_all(directory_); }

  // An environment without variables and files, on a machine without services.
  static Environment bare() {
    static testing::FakeEnvironment nothing;
    return nothing.get();
  }
  static StoreFactory factory(const std::string& endpoint_url) {
    StoreSettings settings;
    settings.bucket = "bucket";
    settings.endpoint_url = endpoint_url;
    return {settings, bare()};
  }
  static int code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return 0;
  }

  std::string directory_;
  testing::FakeClock clock_;
  const Waiting waiting_{.clock = clock_, .stopping = {}};
};

TEST_F(StoreFactoryTest, ADirectoryNeedsNoCredentials) {
  const StoreFactory stores = factory("file://" + directory_ + "/");
  const auto first = stores.make_checked("disk", /*may_create=*/true, waiting_);
  first->put("disk/a", {}, {});
  EXPECT_EQ(stores.make(waiting_)->size_of("disk/a"), 0U);
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/bucket/disk/a"));
}

TEST_F(StoreFactoryTest, ABucketIsMadeOnlyForANewVolume) {
  const StoreFactory stores = factory("file://" + directory_);
  EXPECT_EQ(code_of([&] { (void)stores.make_checked("", /*may_create=*/false, waiting_); }),
            ENOENT);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/bucket"));
}

TEST_F(StoreFactoryTest, ARelativeDirectoryIsRefused) {
  EXPECT_EQ(code_of([] { factory("file://tmp/x"); }), EINVAL);
  EXPECT_EQ(code_of([] { factory("file://"); }), EINVAL);
}

TEST_F(StoreFactoryTest, AServiceNeedsCredentialsAndAnUrlThatCanBe) {
  EXPECT_EQ(code_of([] { factory("http://127.0.0.1:1"); }), EACCES);
  EXPECT_EQ(code_of([] { factory(""); }), EACCES) << "AWS, where no endpoint is given";
  StoreSettings settings;
  settings.bucket = "bucket";
  settings.endpoint_url = "ftp://example.com";
  settings.identity.access_key = settings.identity.secret_key = "x";
  EXPECT_EQ(code_of([&] { StoreFactory(settings, bare()); }), EINVAL);
}

// Where the requests for a bucket of this name would go.
std::string place_of(const std::string& bucket, const std::string& endpoint_url = "",
                     bool anonymous = false) {
  testing::FakeEnvironment around;
  StoreSettings settings;
  settings.bucket = bucket;
  settings.endpoint_url = endpoint_url;
  settings.identity.region = "us-east-1";
  settings.identity.anonymous = anonymous;
  if (!anonymous) settings.identity.access_key = settings.identity.secret_key = "x";
  return StoreFactory(settings, around.get()).place();
}

TEST_F(StoreFactoryTest, AnAccessPointIsInTheRegionOfItsArn) {
  const std::string arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/disks";
  EXPECT_EQ(place_of(arn),
            "https://disks-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/" + arn);
  const std::string china = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/disks";
  EXPECT_EQ(place_of(china),
            "https://disks-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn/" + china);
  EXPECT_EQ(place_of(arn, "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            "https://disks-123456789012.vpce-1.s3.eu-west-1.vpce.amazonaws.com/" + arn);
  EXPECT_EQ(
      place_of(arn, "https://s3-fips.dualstack.us-east-1.amazonaws.com"),
      "https://disks-123456789012.s3-accesspoint-fips.dualstack.eu-west-1.amazonaws.com/" + arn);
  for (const char* url : {"http://127.0.0.1:9000", "http://[::1]:9000", "file:///tmp"}) {
    EXPECT_EQ(code_of([&] { place_of(arn, url); }), EINVAL) << url;
  }
  EXPECT_EQ(code_of([] { place_of("arn:aws:s3:::disk"); }), EINVAL);
}

TEST_F(StoreFactoryTest, ADirectoryBucketIsInItsZone) {
  const std::string bucket = "disk--use1-az4--x-s3";
  EXPECT_EQ(place_of(bucket),
            "https://disk--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/" + bucket);
  EXPECT_EQ(
      place_of(bucket, "https://s3-fips.us-east-1.amazonaws.com"),
      "https://disk--use1-az4--x-s3.s3express-fips-use1-az4.us-east-1.amazonaws.com/" + bucket);
  EXPECT_EQ(place_of(bucket, "http://127.0.0.1:9000"), "http://127.0.0.1:9000/" + bucket);
  EXPECT_EQ(code_of([&] { place_of(bucket, "", /*anonymous=*/true); }), EINVAL);
  EXPECT_EQ(place_of("disk", "", /*anonymous=*/true), "https://s3.us-east-1.amazonaws.com/disk");
}

std::string refusal(const StoreSettings& settings, testing::FakeEnvironment& around) {
  try {
    StoreFactory(settings, around.get());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    return error.what();
  }
  return "";
}

// "endpoint-url: ..." of somebody who gave no endpoint-url sends them looking in the wrong place.
TEST_F(StoreFactoryTest, AnUrlThatCannotBeIsRefusedByTheNameOfWhereItStands) {
  testing::FakeEnvironment around;
  around.files["/home/u/.aws/config"] = "[default]\nendpoint_url = ftp://profile\n";
  StoreSettings settings;
  settings.bucket = "bucket";
  settings.identity.anonymous = true;
  const std::string why = ": the scheme is neither http nor https";
  EXPECT_TRUE(refusal(settings, around).starts_with("endpoint_url of profile \"default\"" + why));
  around.variables["AWS_ENDPOINT_URL"] = "ftp://all";
  EXPECT_TRUE(refusal(settings, around).starts_with("AWS_ENDPOINT_URL" + why));
  around.variables["AWS_ENDPOINT_URL_S3"] = "ftp://s3";
  EXPECT_TRUE(refusal(settings, around).starts_with("AWS_ENDPOINT_URL_S3" + why));
  settings.endpoint_url = "ftp://given";
  EXPECT_TRUE(refusal(settings, around).starts_with("endpoint-url" + why));
  settings.endpoint_url = around.server.url();
  EXPECT_EQ(refusal(settings, around), "");
}

TEST_F(StoreFactoryTest, TheParameterVirtualHostCountsBeforeTheProfile) {
  testing::FakeEnvironment around;
  StoreSettings settings;
  settings.bucket = "bucket";
  settings.endpoint_url = "http://store";
  settings.identity.anonymous = true;
  const auto place = [&] { return StoreFactory(settings, around.get()).place(); };
  EXPECT_EQ(place(), "http://store/bucket");
  settings.virtual_host = true;
  EXPECT_EQ(place(), "http://bucket.store/bucket");
  around.files["/home/u/.aws/config"] = "[default]\ns3 =\n  addressing_style = virtual\n";
  settings.virtual_host.reset();
  EXPECT_EQ(place(), "http://bucket.store/bucket");
  settings.virtual_host = false;
  EXPECT_EQ(place(), "http://store/bucket");
}

TEST_F(StoreFactoryTest, AnAccessPointTellsWhereTheAddressStandsThatItCannotBePutBefore) {
  testing::FakeEnvironment around;
  around.variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9000";
  StoreSettings settings;
  settings.bucket = "arn:aws:s3:eu-west-1:123456789012:accesspoint/disks";
  settings.identity.anonymous = true;
  EXPECT_TRUE(testing::contains(refusal(settings, around),
                                "AWS_ENDPOINT_URL must have the name of a host"));
}

TEST_F(StoreFactoryTest, APublicBucketNeedsNoCredentials) {
  testing::FakeEnvironment around;
  StoreSettings settings;
  settings.bucket = "bucket";
  settings.endpoint_url = around.server.url();
  settings.identity.anonymous = true;
  const StoreFactory stores(settings, around.get());
  around.server.then(testing::answer(200, "x"));
  (void)stores.make(waiting_)->get_text("object", 10);
  EXPECT_EQ(around.server.requests().at(0).header("authorization"), "");
  EXPECT_EQ(around.server.requests().at(0).header("x-amz-date"), "");
}

// As the lease's requests: they are not held up by limits, and one that comes late is of no use.
TEST_F(StoreFactoryTest, WhatMustComeInTimeHasNoLimitsAndNoMoreTimeForGettingOn) {
  testing::FakeEnvironment around;
  StoreSettings settings;
  settings.bucket = "bucket";
  settings.endpoint_url = around.server.url();
  settings.identity.anonymous = true;
  settings.retries = 0;
  settings.options.download_limit_bytes_s = 1000;
  const StoreFactory stores(settings, around.get());
  const auto store =
      stores.make({.clock = clock_, .stopping = {}, .timeout = std::chrono::milliseconds(2000)});
  const std::string large(30'000, 'x');
  around.server.then(testing::answer(200, large));
  EXPECT_EQ(store->get_text("object", large.size()), large);
  around.server.then(testing::answer(200, "12345678").drip(std::chrono::milliseconds(500)));
  EXPECT_THROW((void)store->get_text("object", 8), Error);
}

}  // namespace
}  // namespace nbdstack
