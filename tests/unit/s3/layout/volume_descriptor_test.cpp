#include "plugins/s3/layout/volume_descriptor.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

using testing::contains;
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

std::string descriptor_with(const std::string& size, const std::string& object_size) {
  return R"({"format": "nbdstack-volume", "version": 1, "size": )" + size + R"(, "object-size": )" +
         object_size + R"(, "id": "00"})";
}

constexpr const char* kDescriptorName = "disk/nbdstack-volume.json";

// Written by a program in another language, from the descriptions in volume_descriptor.hpp and
// volume_key.hpp: the key 00 01 02 ... 1f under the passphrase "correct horse".
constexpr const char* kEncryptedVector = R"({
  "format": "nbdstack-volume",
  "version": 2,
  "size": 1073741824,
  "object-size": 65536,
  "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
  "encryption": {
    "cipher": "aes-256-gcm",
    "kdf": "scrypt",
    "n": 16,
    "r": 8,
    "p": 1,
    "salt": "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f",
    "wrapped-key": ")"
                                         "b0b1b2b3b4b5b6b7b8b9babb7d133753818fd57ea0c1c74af0c2e1b3"
                                         "85ee405e000581f99e1f95ac00fe813081397e39d868c9eeeb2393d5"
                                         "a7cc1eea"
                                         R"(",
    "mac": "44a15615e5c2540f67fe10b2251c127a136f523de3d6b9bfa90e69cd3def5e38"
  }
}
)";

using Json = nlohmann::ordered_json;

// The vector above with one member of "encryption" replaced, or removed where `value` is null.
std::string encryption_with(const std::string& member, const Json& value) {
  Json json = Json::parse(kEncryptedVector);
  if (value.is_null()) {
    json["encryption"].erase(member);
  } else {
    json["encryption"][member] = value;
  }
  return json.dump();
}

// The errno and the message of an attempt to unlock.
std::pair<int, std::string> unlock_failure(const VolumeDescriptor& descriptor,
                                           std::string_view passphrase) {
  try {
    static_cast<void>(descriptor.unlock(passphrase, kDescriptorName));
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {0, ""};
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
  const std::string text = R"({"format": "nbdstack-volume", "version": 3, "new": true})";
  EXPECT_TRUE(contains(refusal_of(text), "version 3"));
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

TEST(VolumeDescriptorTest, AllowingFramesMakesItVersion2Once) {
  auto descriptor = VolumeDescriptor::make(1000, 4096);
  EXPECT_FALSE(descriptor.framed);
  EXPECT_TRUE(descriptor.allow_frames());
  EXPECT_FALSE(descriptor.allow_frames());
  EXPECT_TRUE(contains(descriptor.to_json(), "\"version\": 2"));
  const auto read = VolumeDescriptor::parse(descriptor.to_json(), "x");
  EXPECT_TRUE(read.framed);
  EXPECT_FALSE(read.encryption.has_value());
  EXPECT_EQ(read.to_json(), descriptor.to_json());
}

TEST(VolumeDescriptorTest, TheFormatOfAnEncryptedOneDoesNotChangeUnnoticed) {
  const auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  EXPECT_TRUE(descriptor.framed);
  EXPECT_EQ(descriptor.to_json(), kEncryptedVector);
  EXPECT_EQ(to_hex(descriptor.unlock("correct horse", kDescriptorName).bytes()),
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
}

TEST(VolumeDescriptorTest, ThePassphraseUnlocksWhatWasWritten) {
  auto descriptor = VolumeDescriptor::make(1000, 4096);
  const SecretKey key = descriptor.encrypt("passphrase", testing::kCheapScrypt);
  const auto read = VolumeDescriptor::parse(descriptor.to_json(), kDescriptorName);
  EXPECT_EQ(to_hex(read.unlock("passphrase", kDescriptorName).bytes()), to_hex(key.bytes()));
}

TEST(VolumeDescriptorTest, TwoEncryptedVolumesHaveDifferentKeys) {
  auto first = VolumeDescriptor::make(1000, 4096);
  auto second = VolumeDescriptor::make(1000, 4096);
  EXPECT_NE(to_hex(first.encrypt("same", testing::kCheapScrypt).bytes()),
            to_hex(second.encrypt("same", testing::kCheapScrypt).bytes()));
}

TEST(VolumeDescriptorTest, AWrongPassphraseIsSaidToBeOneAndNotRepeated) {
  const auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  const auto [code, message] = unlock_failure(descriptor, "incorrect mule");
  EXPECT_EQ(code, EACCES);
  EXPECT_TRUE(message.starts_with("passphrase: "));
  EXPECT_TRUE(contains(message, descriptor.id));
  EXPECT_FALSE(contains(message, "mule"));
  EXPECT_EQ(unlock_failure(descriptor, "").first, EINVAL);
}

TEST(VolumeDescriptorTest, APassphraseForAnUnencryptedVolumeIsRefused) {
  auto descriptor = VolumeDescriptor::make(1000, 4096);
  EXPECT_EQ(unlock_failure(descriptor, "p").first, EINVAL);
  EXPECT_TRUE(descriptor.allow_frames());
  EXPECT_EQ(unlock_failure(descriptor, "p").first, EINVAL);
}

TEST(VolumeDescriptorTest, AGeometryChangedWithoutTheKeyIsNoticed) {
  auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  descriptor.size_bytes /= 2;
  auto [code, message] = unlock_failure(descriptor, "correct horse");
  EXPECT_EQ(code, EINVAL);
  EXPECT_TRUE(contains(message, kDescriptorName));
  EXPECT_TRUE(contains(message, "size"));

  descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  descriptor.object_size *= 2;
  EXPECT_EQ(unlock_failure(descriptor, "correct horse").first, EINVAL);

  descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  descriptor.id[0] = 'f';
  EXPECT_EQ(unlock_failure(descriptor, "correct horse").first, EACCES);

  descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  descriptor.encryption->mac[31] ^= std::byte{1};
  EXPECT_EQ(unlock_failure(descriptor, "correct horse").first, EINVAL);
}

TEST(VolumeDescriptorTest, ResizingAnEncryptedVolumeTakesItsKey) {
  auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  EXPECT_THROW(descriptor.resize(4096, std::nullopt), Error);
  EXPECT_THROW(descriptor.resize(4096, SecretKey::random()), Error);
  EXPECT_EQ(descriptor.to_json(), kEncryptedVector);

  const std::optional<SecretKey> key = descriptor.unlock("correct horse", kDescriptorName);
  descriptor.resize(4096, key);
  const auto read = VolumeDescriptor::parse(descriptor.to_json(), kDescriptorName);
  EXPECT_EQ(read.size_bytes, 4096U);
  EXPECT_EQ(to_hex(read.unlock("correct horse", kDescriptorName).bytes()), to_hex(key->bytes()));
}

TEST(VolumeDescriptorTest, ResizingAnUnencryptedVolumeTakesNoKey) {
  auto descriptor = VolumeDescriptor::make(1000, 4096);
  descriptor.resize(2000, std::nullopt);
  EXPECT_EQ(VolumeDescriptor::parse(descriptor.to_json(), kDescriptorName).size_bytes, 2000U);
  EXPECT_FALSE(descriptor.framed);
  EXPECT_THROW(descriptor.resize(0, std::nullopt), Error);
  EXPECT_THROW(descriptor.resize(std::uint64_t{1} << 63U, std::nullopt), Error);
}

TEST(VolumeDescriptorTest, ANewPassphraseUnlocksTheSameKeyAndTheOldOneNoLonger) {
  auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  const SecretKey key = descriptor.unlock("correct horse", kDescriptorName);
  descriptor.change_passphrase(key, "battery staple", testing::kCheapScrypt);
  const auto read = VolumeDescriptor::parse(descriptor.to_json(), kDescriptorName);
  EXPECT_EQ(to_hex(read.unlock("battery staple", kDescriptorName).bytes()), to_hex(key.bytes()));
  EXPECT_EQ(unlock_failure(read, "correct horse").first, EACCES);
  EXPECT_NE(
      read.encryption->wrapped_key.salt,
      VolumeDescriptor::parse(kEncryptedVector, kDescriptorName).encryption->wrapped_key.salt);
}

TEST(VolumeDescriptorTest, APassphraseIsNotChangedWithoutTheKey) {
  auto descriptor = VolumeDescriptor::parse(kEncryptedVector, kDescriptorName);
  EXPECT_THROW(descriptor.change_passphrase(SecretKey::random(), "new", testing::kCheapScrypt),
               Error);
  const SecretKey key = descriptor.unlock("correct horse", kDescriptorName);
  EXPECT_THROW(descriptor.change_passphrase(key, "", testing::kCheapScrypt), Error);
  EXPECT_EQ(descriptor.to_json(), kEncryptedVector);
  auto unencrypted = VolumeDescriptor::make(1000, 4096);
  EXPECT_THROW(unencrypted.change_passphrase(key, "new", testing::kCheapScrypt), Error);
}

// As deep as a descriptor may be long: nobody needs stack for each level of it.
TEST(VolumeDescriptorTest, WhatIsNestedDeepIsRefusedLikeAnythingElse) {
  constexpr std::size_t kDepth = 32'000;
  const std::string nested = std::string(kDepth, '[') + std::string(kDepth, ']');
  const std::string text = R"({"format": "nbdstack-volume", "version": 2, "size": 1, )"
                           R"("object-size": 4096, "id": "0", "encryption": {"x": )" +
                           nested + "}}";
  EXPECT_TRUE(contains(refusal_of(text), "\"x\""));
}

TEST(VolumeDescriptorTest, AnEncryptionThatIsNotUnderstoodIsRefusedByName) {
  EXPECT_EQ(refusal_of(kEncryptedVector), "");
  EXPECT_TRUE(contains(refusal_of(encryption_with("cipher", "rot13")), "rot13"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("kdf", "argon2")), "argon2"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("new", 1)), "\"new\""));
  for (const char* member : {"cipher", "kdf", "n", "r", "p", "salt", "wrapped-key", "mac"}) {
    EXPECT_TRUE(contains(refusal_of(encryption_with(member, nullptr)), member));
  }
  const std::string digits(64, '0');
  for (const std::string& salt : {digits.substr(1), digits + "0", digits.substr(1) + "A",
                                  digits.substr(1) + "g", std::string()}) {
    EXPECT_TRUE(contains(refusal_of(encryption_with("salt", salt)), "\"salt\"")) << salt;
  }
  Json json = Json::parse(kEncryptedVector);
  json["encryption"] = true;
  EXPECT_TRUE(contains(refusal_of(json.dump()), "\"encryption\""));
}

TEST(VolumeDescriptorTest, ACostThatWouldExhaustTheMachineIsRefused) {
  EXPECT_TRUE(contains(refusal_of(encryption_with("n", std::uint64_t{1} << 40U)), "memory"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("r", 4294967295U)), "memory"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("p", 4294967295U)), "too long"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("p", std::uint64_t{1} << 32U)), "\"p\""));
  EXPECT_TRUE(contains(refusal_of(encryption_with("r", (std::uint64_t{1} << 32U) + 8)), "\"r\""));
  EXPECT_TRUE(contains(refusal_of(encryption_with("n", 1000)), "power of two"));
  EXPECT_TRUE(contains(refusal_of(encryption_with("n", -16)), "\"n\""));
}

}  // namespace
}  // namespace nbdstack
