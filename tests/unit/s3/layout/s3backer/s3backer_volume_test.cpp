#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"

#include <gtest/gtest.h>

#include <set>

#include "common/error.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/layout/s3backer/s3backer_vectors.hpp"

namespace nbdstack {
namespace {

using testing::contains;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;
const S3backerNames kNames("dir/", false);

ObjectInfo block_0(const std::optional<std::string>& size,
                   const std::optional<std::string>& block_size) {
  ObjectInfo info;
  if (size.has_value()) info.attributes.metadata.emplace_back("s3backer-filesize", *size);
  if (block_size.has_value()) {
    info.attributes.metadata.emplace_back("s3backer-blocksize", *block_size);
  }
  return info;
}

S3backerFindings found(const std::string& size, const std::string& block_size,
                       std::uint64_t last_block) {
  return {.block_0 = block_0(size, block_size), .last_block = BlockNumber{last_block}};
}

BlockGeometry geometry(const S3backerFindings& findings, const S3backerRequest& request) {
  return s3backer_geometry(findings, request, kNames, "bucket b");
}

// What s3backer_geometry() says about what it must refuse.
std::string refusal_of(const S3backerFindings& findings, const S3backerRequest& request) {
  try {
    (void)geometry(findings, request);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_NE(std::string(error.what()).find("bucket b"), std::string::npos);
    return error.what();
  }
  return "";
}

void expect_geometry(const BlockGeometry& geometry, std::uint64_t size, std::uint32_t block_size) {
  EXPECT_EQ(geometry.size_bytes(), size);
  EXPECT_EQ(geometry.block_size(), block_size);
}

TEST(S3backerGeometryTest, EveryVolumeThatS3backerWroteRecordsItsOwn) {
  for (const std::string& name : s3backer_vectors::volume_names()) {
    const auto volume = s3backer_vectors::load(name);
    const ObjectInfo info{
        .size_bytes = 0, .etag = "", .attributes = volume.object_of({0}).attributes};
    expect_geometry(geometry({.block_0 = info, .last_block = BlockNumber{255}}, {}), 1048576, 4096);
  }
}

TEST(S3backerGeometryTest, WhatIsRecordedCountsAndMayBeRepeated) {
  const S3backerFindings findings = found("1048576", "4096", 255);
  expect_geometry(geometry(findings, {}), 1048576, 4096);
  expect_geometry(geometry(findings, {.size_bytes = 1048576, .block_size = 4096}), 1048576, 4096);
}

TEST(S3backerGeometryTest, ContradictionsNameBoth) {
  const S3backerFindings findings = found("1048576", "4096", 10);
  const std::string size = refusal_of(findings, {.size_bytes = 2097152});
  EXPECT_TRUE(contains(size, "size=2097152")) << size;
  EXPECT_TRUE(contains(size, "dir/00000000 records 1048576")) << size;
  const std::string block_size = refusal_of(findings, {.block_size = 8192});
  EXPECT_TRUE(contains(block_size, "block size of 8192")) << block_size;
  EXPECT_TRUE(contains(block_size, "records 4096")) << block_size;
  expect_geometry(geometry(findings, {.size_bytes = 2097152, .force_size = true}), 2097152, 4096);
  EXPECT_NE(refusal_of(findings, {.block_size = 8192, .force_size = true}), "");
}

TEST(S3backerGeometryTest, ANewVolumeTakesWhatIsGiven) {
  expect_geometry(geometry({}, {.size_bytes = kGiB}), kGiB, 4096);
  expect_geometry(geometry({}, {.size_bytes = kGiB, .block_size = 131072}), kGiB, 131072);
  EXPECT_TRUE(contains(refusal_of({}, {}), "give size="));
  EXPECT_TRUE(contains(refusal_of({}, {.block_size = 4096}), "give size="));
}

TEST(S3backerGeometryTest, WithoutBlock0NothingIsRecorded) {
  const S3backerFindings findings{.block_0 = std::nullopt, .last_block = BlockNumber{7}};
  EXPECT_TRUE(contains(refusal_of(findings, {.size_bytes = kGiB}), "block size"));
  EXPECT_TRUE(contains(refusal_of(findings, {.block_size = 4096}), "give size="));
  expect_geometry(geometry(findings, {.size_bytes = 32768, .block_size = 4096}), 32768, 4096);
  const std::string refusal = refusal_of(findings, {.size_bytes = 28672, .block_size = 4096});
  EXPECT_TRUE(contains(refusal, "size=28672")) << refusal;
  EXPECT_TRUE(contains(refusal, "dir/00000007")) << refusal;
}

TEST(S3backerGeometryTest, ASizeModulo4GiBIsDistrusted) {
  // As version 1.6.0 records 8 GiB, and 5 GiB.
  const S3backerFindings eight = found("0", "4096", 100);
  EXPECT_TRUE(contains(refusal_of(eight, {}), "give size="));
  expect_geometry(geometry(eight, {.size_bytes = 8 * kGiB}), 8 * kGiB, 4096);

  const S3backerFindings five = found(std::to_string(kGiB), "4096", kGiB / 4096);
  const std::string refusal = refusal_of(five, {});
  EXPECT_TRUE(contains(refusal, "records size 1073741824")) << refusal;
  EXPECT_TRUE(contains(refusal, "dir/00040000")) << refusal;
  expect_geometry(geometry(five, {.size_bytes = 5 * kGiB}), 5 * kGiB, 4096);
  EXPECT_NE(refusal_of(five, {.size_bytes = kGiB}), "");

  // No block of the upper 4 GiB is stored: only the user can know.
  const S3backerFindings sparse = found(std::to_string(kGiB), "4096", 3);
  expect_geometry(geometry(sparse, {}), kGiB, 4096);
  expect_geometry(geometry(sparse, {.size_bytes = 5 * kGiB}), 5 * kGiB, 4096);
  EXPECT_NE(refusal_of(sparse, {.size_bytes = 6 * kGiB}), "");
  // A size that was not cut is not one modulo anything.
  const S3backerFindings whole = found(std::to_string(5 * kGiB), "4096", 3);
  EXPECT_NE(refusal_of(whole, {.size_bytes = 9 * kGiB}), "");
}

TEST(S3backerGeometryTest, BlocksBehindTheEndAreNeverCutOff) {
  const S3backerFindings findings = found("1048576", "4096", 255);
  EXPECT_TRUE(
      contains(refusal_of(findings, {.size_bytes = 1044480, .force_size = true}), "dir/000000ff"));
}

TEST(S3backerGeometryTest, NumbersThatAreNoneCountAsMissing) {
  for (const char* wrong :
       {"", "-1", "+4096", "4096 ", " 4096", "0x1000", "4k", "0", "18446744073709551616"}) {
    const S3backerRecord record = S3backerRecord::parse(block_0(wrong, wrong).attributes);
    EXPECT_EQ(record.size_bytes, std::nullopt) << wrong;
    EXPECT_EQ(record.block_size, std::nullopt) << wrong;
  }
  // Block 0 is there: its volume is not a new one.
  const S3backerFindings findings{.block_0 = block_0(std::nullopt, std::nullopt),
                                  .last_block = std::nullopt};
  EXPECT_TRUE(contains(refusal_of(findings, {.size_bytes = kGiB}), "nothing records the block"));
}

TEST(S3backerGeometryTest, BlockSizesArePowersOfTwoInBounds) {
  for (const char* wrong : {"1", "256", "4097", "12288", "2147483648", "4294967296"}) {
    EXPECT_TRUE(contains(refusal_of(found("1048576", wrong, 0), {}), "power of two")) << wrong;
  }
  EXPECT_TRUE(contains(refusal_of({}, {.size_bytes = kGiB, .block_size = 3000}), "3000"));
  expect_geometry(geometry({}, {.size_bytes = 1024, .block_size = 512}), 1024, 512);
}

TEST(S3backerGeometryTest, SizesAreWholeBlocksBelow2To32OfThem) {
  EXPECT_TRUE(contains(refusal_of({}, {.size_bytes = 4097}), "no multiple"));
  EXPECT_TRUE(contains(refusal_of({}, {.size_bytes = 0}), "no multiple"));
  const std::uint64_t most = 0xffffffffULL * 4096;
  expect_geometry(geometry({}, {.size_bytes = most}), most, 4096);
  const std::string refusal = refusal_of({}, {.size_bytes = most + 4096});
  EXPECT_TRUE(contains(refusal, "4294967295")) << refusal;
  expect_geometry(geometry({}, {.size_bytes = most + 8192 - 4096, .block_size = 8192}), most + 4096,
                  8192);
}

TEST(S3backerTokenTest, ANewOneSaysWhoAndWhenAndCanBeTold) {
  const WallTime time{std::chrono::seconds(1369353600)};
  const S3backerToken token = S3backerToken::make("host.example", time);
  EXPECT_EQ(token.body, "host.example\n20130524T000000Z\n");
  EXPECT_EQ(token.attributes.content_type, "text/plain");
  EXPECT_EQ(token.attributes.content_encoding, "");
  EXPECT_EQ(token.attributes.metadata_of("s3backer-mount-token")->size(), 8U);
  EXPECT_EQ(parse_s3backer_token(token.attributes), token.value);
  EXPECT_EQ(describe_s3backer_token(token.body), "host.example, 20130524T000000Z");
}

TEST(S3backerTokenTest, ValuesDifferAndAreInBounds) {
  std::set<std::uint32_t> values;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t value = S3backerToken::make("", {}).value;
    EXPECT_GE(value, 1U);
    EXPECT_LT(value, kS3backerToken_shared);
    values.insert(value);
  }
  EXPECT_GT(values.size(), 90U);
}

TEST(S3backerTokenTest, WithoutAValueItCountsAs1) {
  const auto value_of = [](const std::string& text) {
    ObjectAttributes attributes;
    attributes.metadata.emplace_back("s3backer-mount-token", text);
    return parse_s3backer_token(attributes);
  };
  EXPECT_EQ(parse_s3backer_token({}), 1U);
  EXPECT_EQ(value_of(""), 1U);
  EXPECT_EQ(value_of("what"), 1U);
  EXPECT_EQ(value_of("00000000"), 1U);
  EXPECT_EQ(value_of("0000002a"), 42U);
  EXPECT_EQ(value_of("7fffffff"), kS3backerToken_shared);
}

TEST(S3backerTokenTest, NothingUnprintableReachesALog) {
  EXPECT_EQ(describe_s3backer_token("a\x1b[2Jb\r\n\nc\n"), "a[2Jb, , c");
  EXPECT_EQ(describe_s3backer_token(""), "somebody who did not say who");
  EXPECT_EQ(describe_s3backer_token("\n\n"), "somebody who did not say who");
  EXPECT_LE(describe_s3backer_token(std::string(100000, 'x')).size(), kS3backerToken_bytes_max);
}

}  // namespace
}  // namespace nbdstack
