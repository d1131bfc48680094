// Against volumes that s3backer wrote. Compared byte by byte, both ways: names, headers, bodies
// that are plain or deflate (zlib has made the same of the same for many years), and their
// encryption and signatures. zstd makes other bytes with other versions: its bodies are compared by
// what they decode to, and byte by byte only with the version that the vectors were made with.
#include "plugins/s3/layout/s3backer/s3backer_format.hpp"

#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <future>
#include <set>

#include "common/error.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/layout/s3backer/s3backer_vectors.hpp"

namespace nbdstack {
namespace {

using s3backer_vectors::block_of_image;
using s3backer_vectors::load;
using s3backer_vectors::StoredObject;
using s3backer_vectors::StoredVolume;
using testing::contains;
using Bytes = std::vector<std::byte>;
using Metadata = std::vector<std::pair<std::string, std::string>>;

constexpr unsigned kZstdOfTheVectors = 10504;
const std::set<std::uint64_t> kStoredBlocks{0, 1, 5, 16, 255};

Bytes decoded(const S3backerFormat& format, BlockNumber block, const StoredObject& object) {
  Bytes data(4096);
  format.decode(block, object.body, object.attributes, data);
  return data;
}

// What decode() says about an object that it must refuse.
std::string refusal_of(const S3backerFormat& format, BlockNumber block,
                       const StoredObject& object) {
  try {
    decoded(format, block, object);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_TRUE(contains(error.what(), format.name_of(block))) << error.what();
    return error.what();
  }
  return "";
}

Metadata sorted(Metadata metadata, bool with_signature) {
  std::sort(metadata.begin(), metadata.end());
  if (!with_signature) {
    std::erase_if(metadata, [](const auto& each) { return each.first == "s3backer-hmac"; });
  }
  return metadata;
}

class EachVolume : public ::testing::TestWithParam<std::string> {};

TEST_P(EachVolume, ItsObjectsHoldTheBlocksOfTheDisk) {
  const StoredVolume volume = load(GetParam());
  const S3backerFormat format = volume.format();
  std::set<std::uint64_t> blocks;
  for (const StoredObject& object : volume.objects) {
    const auto block = format.parse_name(object.key);
    ASSERT_TRUE(block.has_value()) << object.key;
    blocks.insert(block->value);
    EXPECT_EQ(format.name_of(*block), object.key);
    EXPECT_EQ(decoded(format, *block, object), block_of_image(*block)) << object.key;
    EXPECT_LE(object.body.size(), 4096 + format.overhead_bytes());
  }
  EXPECT_EQ(blocks, kStoredBlocks);
}

TEST_P(EachVolume, WeWriteWhatS3backerWrote) {
  StoredVolume volume = load(GetParam());
  for (const StoredObject& object : volume.objects) {
    if (GetParam() == "mixed") {  // whose objects were written one way and another
      const std::string& coding = object.attributes.content_encoding;
      volume.compression = coding.empty() ? Compression::none : parse_compression(coding).value();
    }
    const S3backerFormat format = volume.format();
    const BlockNumber block = format.parse_name(object.key).value();
    const Bytes data = block_of_image(block);
    const EncodedBlock encoded = format.encode(block, data);
    const bool same_bytes =
        volume.compression != Compression::zstd || ZSTD_versionNumber() == kZstdOfTheVectors;

    EXPECT_EQ(encoded.attributes.content_type, object.attributes.content_type);
    EXPECT_EQ(encoded.attributes.content_encoding, object.attributes.content_encoding);
    EXPECT_EQ(sorted(encoded.attributes.metadata, same_bytes),
              sorted(object.attributes.metadata, same_bytes));
    EXPECT_FALSE(encoded.with_checksum);
    const Bytes body(encoded.body.begin(), encoded.body.end());
    if (same_bytes) {
      EXPECT_EQ(body, object.body) << object.key;
    }
    EXPECT_EQ(decoded(format, block, {object.key, encoded.attributes, body}), data);
  }
}

TEST_P(EachVolume, BodiesThatAreCutShortOrTooLongAreRefused) {
  StoredVolume volume = load(GetParam());
  const S3backerFormat format = volume.format();
  for (const StoredObject& stored : volume.objects) {
    const BlockNumber block = format.parse_name(stored.key).value();
    for (const int change : {-1, -16, 1, 16}) {
      StoredObject object = stored;
      object.body.resize(object.body.size() + static_cast<std::size_t>(change));
      EXPECT_NE(refusal_of(format, block, object), "") << stored.key << ' ' << change;
    }
    EXPECT_NE(refusal_of(format, block, {stored.key, stored.attributes, {}}), "");
  }
}

INSTANTIATE_TEST_SUITE_P(S3backerFormatTest, EachVolume,
                         ::testing::ValuesIn(s3backer_vectors::volume_names()),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::erase(name, '-');
                           return name;
                         });

// Calls `visit` with the object of a block, one bit of its body after the other changed.
template <typename Visit>
void with_every_bit_changed(const StoredObject& stored, Visit visit) {
  StoredObject object = stored;
  for (std::size_t bit = 0; bit < 8 * object.body.size(); ++bit) {
    std::byte& byte = object.body[bit / 8];
    byte ^= std::byte{1} << (bit % 8);
    visit(object);
    byte ^= std::byte{1} << (bit % 8);
  }
}

TEST(S3backerFormatTest, NoBitOfAnEncryptedBodyMayChange) {
  for (const char* name : {"deflate-aes256-subdir", "zstd-aes128-hashprefix-prefix"}) {
    const StoredVolume volume = load(name);
    const S3backerFormat format = volume.format();
    with_every_bit_changed(volume.object_of({16}), [&](const StoredObject& object) {
      EXPECT_TRUE(contains(refusal_of(format, {16}, object), "signature is wrong"));
    });
  }
}

// Some bits of a deflate stream mean nothing to its decoder. (Of zstd, s3backer leaves out the
// checksum: a changed literal is not noticed here, but by what the store and TLS check.)
TEST(S3backerFormatTest, ADeflateBodyThatChangedIsRefusedOrTheSameBlock) {
  const StoredVolume volume = load("deflate-9");
  const S3backerFormat format = volume.format();
  std::size_t refused = 0;
  with_every_bit_changed(volume.object_of({0}), [&](const StoredObject& object) {
    if (refusal_of(format, {0}, object).empty()) {
      EXPECT_EQ(decoded(format, {0}, object), block_of_image({0}));
    } else {
      ++refused;
    }
  });
  EXPECT_GT(refused, 500U);
}

TEST(S3backerFormatTest, ABlockThatDoesNotShrinkIsStoredCompressedAllTheSame) {
  const StoredVolume volume = load("deflate-9");
  const EncodedBlock encoded = volume.format().encode({5}, block_of_image({5}));
  EXPECT_GT(encoded.body.size(), 4096U);
  EXPECT_EQ(encoded.attributes.content_encoding, "deflate");
}

TEST(S3backerFormatTest, APlainBlockIsPutFromWhereItLies) {
  const StoredVolume volume = load("plain-prefix");
  const Bytes data = block_of_image({1});
  const EncodedBlock encoded = volume.format().encode({1}, data);
  EXPECT_EQ(encoded.body.data(), data.data());
  EXPECT_TRUE(encoded.storage.empty());
}

TEST(S3backerFormatTest, EncryptionWithoutCompressionComesBackToo) {
  StoredVolume volume = load("deflate-aes256-subdir");
  volume.compression = Compression::none;
  const S3backerFormat format = volume.format();
  const Bytes data = block_of_image({5});
  const EncodedBlock encoded = format.encode({5}, data);
  EXPECT_EQ(encoded.attributes.content_encoding, "encrypt-AES-256-CBC");
  EXPECT_EQ(encoded.body.size(), 4096U + 16U);
  const Bytes body(encoded.body.begin(), encoded.body.end());
  EXPECT_EQ(decoded(format, {5}, {"", encoded.attributes, body}), data);
}

TEST(S3backerFormatTest, ThePromisesOfTheInterface) {
  const S3backerFormat plain = load("plain-prefix").format();
  EXPECT_EQ(plain.prefix(), "dir/");
  EXPECT_FALSE(plain.is_plain());
  EXPECT_TRUE(plain.removes_zeros());
  EXPECT_TRUE(plain.names_are_ordered());
  EXPECT_FALSE(load("zstd-aes128-hashprefix-prefix").format().names_are_ordered());
}

TEST(S3backerFormatTest, OnlyAWholePlainBlockIsStoredPlain) {
  const S3backerFormat format = load("plain-prefix").format();
  ObjectInfo object{.size_bytes = 4096, .etag = "", .attributes = {}};
  EXPECT_TRUE(format.is_stored_plain(object));
  object.attributes.content_encoding = " , ";
  EXPECT_TRUE(format.is_stored_plain(object));
  object.attributes.content_encoding = "deflate";
  EXPECT_FALSE(format.is_stored_plain(object));
  object.attributes.content_encoding = "";
  object.size_bytes = 4095;
  EXPECT_FALSE(format.is_stored_plain(object));
  // In an encrypted volume such an object is an error, which decode() reports.
  object.size_bytes = 4096;
  EXPECT_FALSE(load("deflate-aes256-subdir").format().is_stored_plain(object));
}

TEST(S3backerFormatTest, CodingsAreReadInEitherCaseAndWithOrWithoutBlanks) {
  const StoredVolume volume = load("deflate-aes256-subdir");
  const S3backerFormat format = volume.format();
  StoredObject object = volume.object_of({1});
  for (const char* header :
       {"deflate,encrypt-AES-256-CBC", "DEFLATE , Encrypt-aes-256-cbc", "deflate encrypt-AES256",
        " deflate,\tencrypt-aes256 ,", "deflate, ENCRYPT-AES-256-CBC"}) {
    object.attributes.content_encoding = header;
    EXPECT_EQ(decoded(format, {1}, object), block_of_image({1})) << header;
  }
}

TEST(S3backerFormatTest, CodingsThatAreUnknownOrOutOfOrderAreNamed) {
  const StoredVolume volume = load("deflate-9");
  const S3backerFormat format = volume.format();
  StoredObject object = volume.object_of({1});
  for (const auto& [header, named] : std::vector<std::pair<std::string, std::string>>{
           {"gzip", "\"gzip\""},
           {"gzip, deflate", "\"gzip\""},
           {"deflate, br", "\"br\""},
           {"deflate, deflate", "\"deflate\""},
           {"deflate, zstd", "\"deflate\""},
           {"none", "\"none\""},
           {"encrypt-AES-128-CBC, deflate", "\"encrypt-AES-128-CBC\""}}) {
    object.attributes.content_encoding = header;
    const std::string refusal = refusal_of(format, {1}, object);
    // "deflate, zstd" fails at zstd already.
    if (header == "deflate, deflate" || header == "deflate, zstd") {
      EXPECT_NE(refusal, "") << header;
    } else {
      EXPECT_TRUE(contains(refusal, "has " + named)) << refusal;
    }
  }
}

TEST(S3backerFormatTest, TheCodingOfTheObjectCountsAndNotTheVolumes) {
  StoredVolume volume = load("deflate-9");
  volume.compression = Compression::none;
  EXPECT_EQ(decoded(volume.format(), {5}, volume.object_of({5})), block_of_image({5}));
  StoredObject object = volume.object_of({5});
  object.attributes.content_encoding = "zstd";
  EXPECT_TRUE(contains(refusal_of(volume.format(), {5}, object), "zstd stream is damaged"));
  object.attributes.content_encoding = "";
  EXPECT_TRUE(contains(refusal_of(volume.format(), {5}, object), "4107 bytes"));
}

TEST(S3backerFormatTest, EncryptedAndNotEncryptedDoNotMix) {
  StoredVolume encrypted = load("deflate-aes256-subdir");
  StoredVolume plain = load("deflate-9");
  EXPECT_TRUE(contains(refusal_of(encrypted.format(), {1}, plain.object_of({1})), "not encrypted"));
  plain.prefix = encrypted.prefix;
  EXPECT_TRUE(contains(refusal_of(plain.format(), {1}, encrypted.object_of({1})),
                       "encrypted with AES-256-CBC, but no cipher was given"));
}

TEST(S3backerFormatTest, AnotherCipherIsNamed) {
  StoredVolume volume = load("deflate-aes256-subdir");
  volume.cipher = "AES-128-CBC";
  EXPECT_TRUE(contains(refusal_of(volume.format(), {1}, volume.object_of({1})),
                       "encrypted with AES-256-CBC, but AES-128-CBC was given"));
  volume.cipher = "AES-256-CBC";
  StoredObject object = volume.object_of({1});
  for (const char* cipher : {"", "nonsense", "AES-256-CTR"}) {
    object.attributes.content_encoding = std::string("deflate, encrypt-") + cipher;
    EXPECT_TRUE(contains(refusal_of(volume.format(), {1}, object), "but AES-256-CBC was given"));
  }
}

TEST(S3backerFormatTest, WhateverTheKeyComesFromMustBeRight) {
  const StoredVolume right = load("zstd-aes128-hashprefix-prefix");
  const StoredObject& object = right.object_of({5});
  for (int changed = 0; changed < 3; ++changed) {
    StoredVolume wrong = right;
    if (changed == 0) wrong.password = "correct horse battery stable";
    if (changed == 1) wrong.bucket = "vec5";
    if (changed == 2) wrong.prefix = "a/b";
    EXPECT_TRUE(contains(refusal_of(wrong.format(), {5}, object), "signature is wrong")) << changed;
  }
}

TEST(S3backerFormatTest, AnotherBlocksObjectIsRefused) {
  const StoredVolume volume = load("deflate-aes256-subdir");
  EXPECT_TRUE(
      contains(refusal_of(volume.format(), {1}, volume.object_of({5})), "signature is wrong"));
}

TEST(S3backerFormatTest, SignaturesAreNeededAndReadWithOrWithoutQuotes) {
  const StoredVolume volume = load("deflate-aes256-subdir");
  const S3backerFormat format = volume.format();
  StoredObject object = volume.object_of({1});
  ASSERT_EQ(object.attributes.metadata.size(), 1U);
  std::string& signature = object.attributes.metadata[0].second;
  ASSERT_EQ(signature.size(), 42U);
  const std::string right = signature;

  signature = right.substr(1, 40);
  EXPECT_EQ(decoded(format, {1}, object), block_of_image({1}));
  std::transform(signature.begin(), signature.end(), signature.begin(), ::toupper);
  EXPECT_EQ(decoded(format, {1}, object), block_of_image({1}));
  for (const std::string& wrong : {std::string(), std::string("\""), std::string("\"\""),
                                   right.substr(1), right + "0", "\"g" + right.substr(2)}) {
    signature = wrong;
    EXPECT_TRUE(contains(refusal_of(format, {1}, object), "is no signature")) << wrong;
  }
  signature = "\"" + std::string(40, '0') + "\"";
  EXPECT_TRUE(contains(refusal_of(format, {1}, object), "signature is wrong"));
  object.attributes.metadata.clear();
  EXPECT_TRUE(contains(refusal_of(format, {1}, object), "carries no metadata s3backer-hmac"));
}

TEST(S3backerFormatTest, OneFormatServesManyThreads) {
  const StoredVolume volume = load("zstd-aes128-hashprefix-prefix");
  const S3backerFormat format = volume.format();
  std::array<std::future<void>, 4> threads;
  for (std::future<void>& thread : threads) {
    thread = std::async(std::launch::async, [&] {
      for (int round = 0; round < 50; ++round) {
        for (const std::uint64_t number : kStoredBlocks) {
          const Bytes data = block_of_image({number});
          const EncodedBlock encoded = format.encode({number}, data);
          Bytes back(4096);
          format.decode({number}, encoded.body, encoded.attributes, back);
          EXPECT_EQ(back, data);
        }
      }
    });
  }
  for (std::future<void>& thread : threads) thread.get();
}

TEST(S3backerFormatTest, TheOverheadCoversTheWorstBlock) {
  const StoredVolume volume = load("deflate-9");
  for (const Compression method : {Compression::deflate, Compression::zstd}) {
    StoredVolume written = load("deflate-aes256-subdir");
    written.compression = method;
    const S3backerFormat format = written.format();
    EXPECT_LE(format.encode({5}, block_of_image({5})).body.size(), 4096 + format.overhead_bytes());
  }
  EXPECT_LT(volume.format().overhead_bytes(), 1024U);
}

TEST(S3backerNamesTest, TheHashIsS3backers) {
  EXPECT_EQ(S3backerNames::hash_of(0), 0xc448b72cU);
  EXPECT_EQ(S3backerNames::hash_of(5), 0x6a03ab82U);
}

TEST(S3backerNamesTest, NamesOfBlocksAndNoOthersAreParsed) {
  const S3backerNames names("a/", false);
  EXPECT_EQ(names.block({0xffffffff}), "a/ffffffff");
  EXPECT_EQ(names.mount_token(), "a/s3backer-mounted");
  EXPECT_EQ(names.parse_block("a/000000ff"), BlockNumber{255});
  for (const char* other :
       {"", "a/", "000000ff", "a/000000fF", "a/000000f", "a/0000000ff", "a/000000ff ",
        "a/s3backer-mounted", "a/c448b72c-00000000", "a/+0000001", "b/000000ff", "a/a/000000ff"}) {
    EXPECT_EQ(names.parse_block(other), std::nullopt) << other;
  }
}

TEST(S3backerNamesTest, AHashThatIsNotItsNumbersIsNoName) {
  const S3backerNames names("", true);
  EXPECT_EQ(names.block({5}), "6a03ab82-00000005");
  EXPECT_EQ(names.mount_token(), "s3backer-mounted");
  EXPECT_EQ(names.parse_block("6a03ab82-00000005"), BlockNumber{5});
  for (const char* other :
       {"6a03ab82-00000006", "6a03ab83-00000005", "00000005", "6a03ab8200000005",
        "6a03ab82-0000005", "6a03ab82-", "6a03ab82", "-00000005"}) {
    EXPECT_EQ(names.parse_block(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace nbdstack
