#include "plugins/s3/volume_descriptor.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// What parse() says about a text that it must refuse.
std::string refusal_of(const std::string& text) {
  try {
    VolumeDescriptor::parse(text, "disk/nbdstack-volume.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_NE(std::string(error.what()).find("disk/nbdstack-volume.json"), std::string::npos);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string descriptor_with(const std::string& size, const std::string& object_size) {
  return R"({"format": "nbdstack-volume", "version": 1, "size": )" + size + R"(, "object-size": )" +
         object_size + R"(, "id": "00"})";
}

TEST(VolumeDescriptorTest, WhatIsWrittenIsReadBackExactly) {
  const std::uint64_t largest = (std::uint64_t{1} << 63U) - 1;  // no double holds it
  const auto written = VolumeDescriptor::make(largest, 4096);
  const auto read = VolumeDescriptor::parse(written.to_json(), "x");
  EXPECT_EQ(read.size_bytes, largest);
  EXPECT_EQ(read.object_size, 4096U);
  EXPECT_EQ(read.id, written.id);
}

TEST(VolumeDescriptorTest, TheFormatOnDiskDoesNotChangeUnnoticed) {
  const VolumeDescriptor descriptor{.size_bytes = 1000, .object_size = 4096, .id = "abc"};
  EXPECT_EQ(descriptor.to_json(),
            "{\n  \"format\": \"nbdstack-volume\",\n  \"version\": 1,\n  \"size\": 1000,\n"
            "  \"object-size\": 4096,\n  \"id\": \"abc\"\n}\n");
}

TEST(VolumeDescriptorTest, TwoVolumesHaveDifferentIds) {
  const auto first = VolumeDescriptor::make(1, 4096);
  EXPECT_EQ(first.id.size(), 32U);
  EXPECT_NE(first.id, VolumeDescriptor::make(1, 4096).id);
}

TEST(VolumeDescriptorTest, AnUnknownVersionIsRefusedBeforeItsFieldsAreJudged) {
  const std::string text = R"({"format": "nbdstack-volume", "version": 2, "new": true})";
  EXPECT_TRUE(contains(refusal_of(text), "version 2"));
}

TEST(VolumeDescriptorTest, WhatIsNoDescriptorIsRefusedByName) {
  EXPECT_NE(refusal_of(""), "");
  EXPECT_NE(refusal_of("[]"), "");
  EXPECT_NE(refusal_of("{"), "");
  EXPECT_TRUE(contains(refusal_of("{}"), "\"format\""));
  EXPECT_TRUE(contains(refusal_of(R"({"format": "other", "version": 1})"), "\"other\""));
}

TEST(VolumeDescriptorTest, ImpossibleValuesAreRefusedByName) {
  EXPECT_EQ(refusal_of(descriptor_with("1", "4096")), "");
  EXPECT_TRUE(contains(refusal_of(descriptor_with("0", "4096")), "size of 0"));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("-1", "4096")), "\"size\""));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("1.5", "4096")), "\"size\""));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("\"1\"", "4096")), "\"size\""));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("9223372036854775808", "4096")), "size of"));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("1", "5000")), "object-size of 5000"));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("1", "2048")), "object-size of 2048"));
  EXPECT_TRUE(contains(refusal_of(descriptor_with("1", "67108864")), "object-size of 67108864"));
}

TEST(VolumeDescriptorTest, AnUnknownFieldIsRefusedRatherThanIgnored) {
  std::string text = descriptor_with("1", "4096");
  text.insert(text.size() - 1, R"(, "encryption": "aes")");
  EXPECT_TRUE(contains(refusal_of(text), "\"encryption\""));
}

TEST(VolumeDescriptorTest, AMissingFieldIsRefusedByName) {
  const std::string text =
      R"({"format": "nbdstack-volume", "version": 1, "size": 1, "object-size": 4096})";
  EXPECT_TRUE(contains(refusal_of(text), "\"id\""));
}

}  // namespace
}  // namespace nbdstack
