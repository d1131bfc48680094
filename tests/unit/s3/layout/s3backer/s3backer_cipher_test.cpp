// Known answers by tests/vectors/s3backer/cipher_vectors.py, which shares no code with this.
#include "plugins/s3/layout/s3backer/s3backer_cipher.hpp"

#include <gtest/gtest.h>

#include <ostream>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "tests/unit/s3/contains.hpp"

namespace nbdstack {
namespace {

using testing::contains;
constexpr BlockNumber kBlock{0x1234};

std::span<const std::byte> text_of_block() {
  static const std::string text = "the text of a block";
  return std::as_bytes(std::span(text));
}

S3backerCipherSettings settings_for(const std::string& cipher) {
  return {.cipher = cipher, .password = "secret", .bucket = "bucket", .prefix = "dir/"};
}

// What the constructor says about settings that it must refuse.
std::string refusal_of(const S3backerCipherSettings& settings) {
  try {
    const S3backerCipher cipher(settings);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
    return error.what();
  }
  return "";
}

struct KnownAnswer {
  std::string cipher;
  std::optional<std::size_t> key_bytes;
  std::string body;
  std::string hmac;
};

void PrintTo(const KnownAnswer& answer, std::ostream* out) {
  *out << answer.cipher;
}

class EachCipher : public ::testing::TestWithParam<KnownAnswer> {};

TEST_P(EachCipher, EncryptsAndSignsAsS3backerDoes) {
  S3backerCipherSettings settings = settings_for(GetParam().cipher);
  settings.key_bytes = GetParam().key_bytes;
  const S3backerCipher cipher(settings);
  const std::vector<std::byte> body = cipher.encrypt(kBlock, text_of_block());
  EXPECT_EQ(to_hex(body), GetParam().body);
  const S3backerCipher::Hmac hmac = cipher.hmac(kBlock, body);
  EXPECT_EQ(to_hex(hmac), GetParam().hmac);
  EXPECT_TRUE(cipher.is_authentic(kBlock, body, hmac));
  EXPECT_FALSE(cipher.is_authentic({0x1235}, body, hmac));

  const std::vector<std::byte> text = cipher.decrypt(kBlock, body);
  EXPECT_TRUE(std::equal(text.begin(), text.end(), text_of_block().begin(), text_of_block().end()));
}

INSTANTIATE_TEST_SUITE_P(
    S3backerCipherTest, EachCipher,
    ::testing::Values(
        KnownAnswer{"AES-128-CBC", std::nullopt,
                    "23b9afde594b7e92c5b4bb578ef774b0baa670905d12e09f3562ac1d62d402bb",
                    "ee1bf91f8e1b79ef1e97fa23028f1f90357dbe6b"},
        KnownAnswer{"AES-192-CBC", std::nullopt,
                    "80155cdf39a022948086aebc0b91340575075d2c88e01483d2a89fbac42df49c",
                    "4cfbfda1d9048eb8b97e21d3897f4ebf8748af54"},
        KnownAnswer{"AES-128-CBC", 40,
                    "d55ac21c41ade58c49c6027c97a3f606d2868dff1f2e57cd6b321f75568bb785",
                    "c14fda9b5377cfa4a76c1082a8f0fd2a15bc0922"},
        KnownAnswer{"DES-EDE3-CBC", std::nullopt,
                    "45d0e9fc3c5e3764f589635d453f7c0d83e2e21d6d16b29a",
                    "c7917b6d64ccdb337d71d8c518fbe70a7a29a8b6"},
        KnownAnswer{"CAMELLIA-256-CBC", std::nullopt,
                    "9ea4f6b5a44c0d8b48a342fbc527eae978620f79aa4fc3fd6e22911c412fcb53",
                    "c93edcb9495f96677a4d6d8ab7da7b5e3a0a5e72"},
        KnownAnswer{"ARIA-128-CBC", std::nullopt,
                    "7e604070ba96fbf81b3c1b8e402b7ca91527a221b50d64b282147b92837e1664",
                    "b63cc2093ca71939b5b9c8d0533c7c903dd1de46"},
        KnownAnswer{"SM4-CBC", std::nullopt,
                    "28af9ae948288826b49fb55a0212658d1161b251cb6a8506714d9390c71fee2c",
                    "bb4265920c50a09d0a028d98a1531ee74359b880"}));

TEST(S3backerCipherTest, EveryAliasIsTheSameCipherUnderItsCanonicalName) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> ciphers{
      {"AES-128-CBC", {"aes128", "AES128", "aes-128-cbc", "Aes-128-Cbc"}},
      {"AES-192-CBC", {"aes192", "aes-192-cbc"}},
      {"AES-256-CBC", {"aes256", "aes-256-cbc"}},
      {"ARIA-128-CBC", {"aria128", "aria-128-cbc"}},
      {"ARIA-192-CBC", {"aria192"}},
      {"ARIA-256-CBC", {"aria256"}},
      {"CAMELLIA-128-CBC", {"camellia128", "camellia-128-cbc"}},
      {"CAMELLIA-192-CBC", {"camellia192"}},
      {"CAMELLIA-256-CBC", {"camellia256"}},
      {"DES-EDE-CBC", {"des-ede-cbc"}},
      {"DES-EDE3-CBC", {"des3", "DES3", "des-ede3-cbc"}},
      {"SM4-CBC", {"sm4", "sm4-cbc"}}};
  for (const auto& [name, aliases] : ciphers) {
    const S3backerCipher canonical(settings_for(name));
    EXPECT_EQ(canonical.name(), name);
    const std::vector<std::byte> body = canonical.encrypt(kBlock, text_of_block());
    for (const std::string& alias : aliases) {
      EXPECT_TRUE(canonical.is_called(alias)) << alias;
      const S3backerCipher other(settings_for(alias));
      EXPECT_EQ(other.name(), name);
      EXPECT_EQ(other.encrypt(kBlock, text_of_block()), body);
      EXPECT_EQ(other.hmac(kBlock, body), canonical.hmac(kBlock, body));
    }
    for (const char* stranger : {"", "AES-128", "AES-128-CTR", "nonsense"}) {
      EXPECT_FALSE(canonical.is_called(stranger)) << stranger;
    }
  }
}

TEST(S3backerCipherTest, CiphersOfTheLegacyProviderAreToldFromUnknownOnes) {
  for (const char* cipher : {"BF-CBC", "blowfish", "CAST5-CBC", "cast", "DES-CBC", "des",
                             "DESX-CBC", "RC2-CBC", "SEED-CBC"}) {
    const std::string refusal = refusal_of(settings_for(cipher));
    EXPECT_TRUE(contains(refusal, "legacy provider")) << cipher << ": " << refusal;
  }
  EXPECT_TRUE(contains(refusal_of(settings_for("AES-129-CBC")), "knows no cipher \"AES-129-CBC\""));
  EXPECT_TRUE(contains(refusal_of(settings_for("")), "knows no cipher"));
}

TEST(S3backerCipherTest, WhatIsNotPlainCbcIsRefused) {
  for (const char* cipher :
       {"AES-128-CTR", "AES-128-ECB", "AES-256-GCM", "AES-128-CFB", "AES-128-OFB", "ChaCha20",
        "AES-128-CBC-HMAC-SHA1", "AES-128-XTS", "id-aes128-wrap"}) {
    EXPECT_TRUE(contains(refusal_of(settings_for(cipher)), "must be a block cipher in CBC mode"))
        << cipher;
  }
}

TEST(S3backerCipherTest, TheKeyIsAsLongAsTheCiphersOrLonger) {
  S3backerCipherSettings settings = settings_for("AES-256-CBC");
  for (const std::size_t wrong : {0U, 16U, 31U, 65U}) {
    settings.key_bytes = wrong;
    EXPECT_TRUE(contains(refusal_of(settings), "takes 32 to 64 bytes")) << wrong;
  }
  for (const std::size_t right : {32U, 64U}) {
    settings.key_bytes = right;
    EXPECT_EQ(refusal_of(settings), "") << right;
  }
}

TEST(S3backerCipherTest, AnEmptyPasswordIsRefused) {
  S3backerCipherSettings settings = settings_for("AES-128-CBC");
  settings.password = "";
  EXPECT_TRUE(contains(refusal_of(settings), "password"));
}

TEST(S3backerCipherTest, EveryBlockHasAnIvOfItsOwn) {
  const S3backerCipher cipher(settings_for("AES-128-CBC"));
  EXPECT_NE(cipher.encrypt({1}, text_of_block()), cipher.encrypt({2}, text_of_block()));
  EXPECT_EQ(cipher.encrypt({1}, text_of_block()), cipher.encrypt({1}, text_of_block()));
}

TEST(S3backerCipherTest, BodiesThatNoEncryptionMakesAreRefused) {
  const S3backerCipher cipher(settings_for("AES-128-CBC"));
  for (const std::size_t size : {0U, 1U, 15U, 17U}) {
    EXPECT_THROW((void)cipher.decrypt(kBlock, std::vector<std::byte>(size)), Error) << size;
  }
  std::vector<std::byte> body = cipher.encrypt(kBlock, text_of_block());
  body.resize(16);  // whose last byte is no padding
  try {
    (void)cipher.decrypt(kBlock, body);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_TRUE(contains(error.what(), "does not end in its padding"));
  }
}

TEST(S3backerCipherTest, ADifferenceInAnyByteOfASignatureCounts) {
  const S3backerCipher cipher(settings_for("AES-128-CBC"));
  const std::vector<std::byte> body = cipher.encrypt(kBlock, text_of_block());
  S3backerCipher::Hmac hmac = cipher.hmac(kBlock, body);
  for (std::byte& byte : hmac) {
    byte ^= std::byte{1};
    EXPECT_FALSE(cipher.is_authentic(kBlock, body, hmac));
    byte ^= std::byte{1};
  }
  EXPECT_TRUE(cipher.is_authentic(kBlock, body, hmac));
}

}  // namespace
}  // namespace nbdstack
