#include "plugins/s3/aws/endpoint.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

TEST(Endpoint, PathStylePutsTheBucketIntoThePath) {
  const BucketAddress address(Endpoint::parse("http://store.example:9000/"), "disk", false);
  EXPECT_EQ(address.origin(), "http://store.example:9000");
  EXPECT_EQ(address.host_header(), "store.example:9000");
  EXPECT_EQ(address.path_of("vol/0"), "/disk/vol/0");
  EXPECT_EQ(address.path_of(""), "/disk");
}

TEST(Endpoint, VirtualHostPutsTheBucketIntoTheHost) {
  const BucketAddress address(Endpoint::parse("https://store.example/base/"), "disk", true);
  EXPECT_EQ(address.origin(), "https://disk.store.example");
  EXPECT_EQ(address.host_header(), "disk.store.example");
  EXPECT_EQ(address.path_of("vol/0"), "/base/vol/0");
  EXPECT_EQ(address.path_of(""), "/base/");
}

// The Host header is signed: a port that clients leave out would make every signature wrong.
TEST(Endpoint, PortOfTheSchemeIsNotInTheHostHeader) {
  EXPECT_EQ(BucketAddress(Endpoint::parse("https://h:443"), "disk", false).host_header(), "h");
  EXPECT_EQ(BucketAddress(Endpoint::parse("http://h:80"), "disk", false).host_header(), "h");
  EXPECT_EQ(BucketAddress(Endpoint::parse("http://h:443"), "disk", false).host_header(), "h:443");
}

TEST(Endpoint, AddressesOfIpv6KeepTheirBrackets) {
  const BucketAddress address(Endpoint::parse("http://[::1]:7480"), "disk", false);
  EXPECT_EQ(address.origin(), "http://[::1]:7480");
  EXPECT_THROW(BucketAddress(Endpoint::parse("http://[::1]:7480"), "disk", true), Error);
}

TEST(Endpoint, RegionsOfChinaHaveTheirOwnDomain) {
  EXPECT_EQ(Endpoint::of_region("eu-central-1").host, "s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(Endpoint::of_region("cn-north-1").host, "s3.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(Endpoint::of_region("us-gov-west-1").host, "s3.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(Endpoint::of_region("eusc-de-east-1").host, "s3.eusc-de-east-1.amazonaws.eu");
  EXPECT_EQ(Endpoint::of_region("us-iso-east-1").host, "s3.us-iso-east-1.c2s.ic.gov");
  EXPECT_EQ(Endpoint::of_region("us-isob-east-1").host, "s3.us-isob-east-1.sc2s.sgov.gov");
  EXPECT_EQ(Endpoint::of_region("eu-isoe-west-1").host, "s3.eu-isoe-west-1.cloud.adc-e.uk");
  EXPECT_EQ(Endpoint::of_region("us-isof-south-1").host, "s3.us-isof-south-1.csp.hci.ic.gov");
  EXPECT_THROW(Endpoint::of_region("evil.example/"), Error);
}

TEST(Endpoint, WhatIsNoEndpointIsRefusedByName) {
  for (const char* url :
       {"", "store.example", "ftp://h", "http://", "http:///p", "http://h:", "http://h:0",
        "http://h:65536", "http://h:8x", "http://h/p?q", "http://h/p#f", "http://h?q",
        "http://[::1", "http://[::1]9", "http://a b", "http://h/a b", "http://::1/"}) {
    try {
      Endpoint::parse(url);
      ADD_FAILURE() << url << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
      EXPECT_NE(std::string(error.what()).find("endpoint-url"), std::string::npos) << url;
    }
  }
}

TEST(Endpoint, PasswordInTheUrlDoesNotReachTheMessage) {
  try {
    Endpoint::parse("https://user:hunter2@host");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("hunter2"), std::string::npos);
  }
}

TEST(Endpoint, BucketThatWouldChangeThePathIsRefused) {
  for (const char* bucket : {"", "a/b", "..", "a?b", "a b"}) {
    EXPECT_THROW(BucketAddress(Endpoint::parse("http://h"), bucket, false), Error) << bucket;
  }
}

}  // namespace
}  // namespace nbdstack
