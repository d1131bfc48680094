// What a user asks of the service, as headers.
#include "plugins/s3/store/service/service_options.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

std::string refusal_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    return error.what();
  }
  return {};
}

TEST(KeepingOptions, NothingSaidIsNoHeader) {
  EXPECT_TRUE(KeepingOptions().put_headers().empty());
  EXPECT_TRUE(KeepingOptions().block_headers().empty());
}

TEST(KeepingOptions, EachHasItsHeader) {
  const KeepingOptions options{.storage_class = "STANDARD_IA",
                               .sse = "aws:kms",
                               .sse_kms_key = "arn:aws:kms:eu-central-1:1:key/2",
                               .acl = "bucket-owner-full-control"};
  EXPECT_EQ(options.put_headers(), (HeaderList{{"x-amz-server-side-encryption", "aws:kms"},
                                               {"x-amz-server-side-encryption-aws-kms-key-id",
                                                "arn:aws:kms:eu-central-1:1:key/2"},
                                               {"x-amz-acl", "bucket-owner-full-control"}}));
  EXPECT_EQ(options.block_headers(), (HeaderList{{"x-amz-storage-class", "STANDARD_IA"}}));
}

TEST(KeepingOptions, WhatDoesNotFitTogetherIsNamed) {
  EXPECT_NE(refusal_of([] { (void)KeepingOptions{.sse = "aes"}.put_headers(); }).find("sse=aes"),
            std::string::npos);
  EXPECT_NE(refusal_of([] {
              (void)KeepingOptions{.sse = "AES256", .sse_kms_key = "k"}.put_headers();
            }).find("sse-kms-key"),
            std::string::npos);
  EXPECT_NE(refusal_of([] {
              (void)KeepingOptions{.storage_class = "GLACIER\n"}.block_headers();
            }).find("storage-class"),
            std::string::npos);
  EXPECT_NE(refusal_of([] { (void)KeepingOptions{.acl = "a\r\nb: c"}.put_headers(); }).find("acl"),
            std::string::npos);
}

TEST(KeepingOptions, ADirectoryBucketIsToldOfEncryptionAloneAndInItsSession) {
  const KeepingOptions options{
      .storage_class = "EXPRESS_ONEZONE", .sse = "aws:kms", .sse_kms_key = "key/2"};
  EXPECT_EQ(options.session_headers(),
            (HeaderList{{"x-amz-server-side-encryption", "aws:kms"},
                        {"x-amz-server-side-encryption-aws-kms-key-id", "key/2"}}));
  for (const auto& [wrong, name] : {
           std::pair{KeepingOptions{.storage_class = "STANDARD"}, "storage-class=STANDARD"},
           {KeepingOptions{.acl = "private"}, "acl"},
           {KeepingOptions{.sse = "aws:kms:dsse"}, "sse=aws:kms:dsse"},
           {KeepingOptions{.sse_kms_key = "k"}, "sse-kms-key"},
       }) {
    EXPECT_NE(refusal_of([&wrong = wrong] { (void)wrong.session_headers(); }).find(name),
              std::string::npos);
  }
}

TEST(ParseHeader, NameAndValueAreTakenApart) {
  EXPECT_EQ(parse_header("X-Trace-Id:  a:b "), (Header{"x-trace-id", "a:b"}));
  EXPECT_EQ(parse_header("x-empty:"), (Header{"x-empty", ""}));
}

TEST(ParseHeader, WhatIsNoHeaderOrOursIsRefused) {
  for (const char* text : {"none", ":value", "two words: x", "x: a\r\ny: b", "Host: other",
                           "authorization: x", "x-amz-date: x"}) {
    EXPECT_NE(refusal_of([&] { parse_header(text); }).find("header"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace nbdstack
