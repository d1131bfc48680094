// Volumes that s3backer wrote, opened, read and written back; and what is refused.
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/error.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "plugins/s3/volume/volume_open.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/contains.hpp"
#include "tests/unit/s3/layout/s3backer/s3backer_vectors.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack {
namespace {

using s3backer_vectors::block_of_image;
using s3backer_vectors::load;
using s3backer_vectors::StoredObject;
using s3backer_vectors::StoredVolume;
using testing::contains;
using testing::MemoryStore;
using testing::pattern;
using testing::StoreOp;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kDisk = 1024UL * 1024;
constexpr std::uint32_t kBlockSize = 4096;

void fill(MemoryStore& store, const StoredVolume& volume) {
  for (const StoredObject& object : volume.objects) {
    store.place(object.key, object.body, object.attributes);
  }
}

VolumeRequest request_for(const StoredVolume& volume) {
  VolumeRequest request{.bucket = volume.bucket, .key = "", .layout = Layout::s3backer};
  request.passphrase = volume.password;
  request.prefix = volume.prefix;
  request.hash_prefix = volume.with_hash;
  return request;
}

Bytes image() {
  Bytes data;
  for (std::uint64_t i = 0; i < kDisk / kBlockSize; ++i) {
    const Bytes block = block_of_image({i});
    data.insert(data.end(), block.begin(), block.end());
  }
  return data;
}

std::unique_ptr<Layer> disk_of(MemoryStore& store, const VolumeLayout& layout) {
  return make_disk(store, layout, {.connections = 4, .is_owner = [] { return true; }});
}

Bytes read_all(MemoryStore& store, const VolumeLayout& layout) {
  Bytes data(layout.size_bytes);
  disk_of(store, layout)->pread(data, 0);
  return data;
}

std::string refusal(MemoryStore& store, const VolumeRequest& request, int code) {
  const auto before = store.keys();
  store.forget_calls();
  std::string text;
  try {
    open_volume(store, request);
    ADD_FAILURE() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    text = error.what();
  }
  EXPECT_TRUE(store.calls(StoreOp::put).empty());
  EXPECT_EQ(store.keys(), before);
  return text;
}

using Metadata = std::vector<std::pair<std::string, std::string>>;
Metadata sorted(Metadata metadata) {
  std::sort(metadata.begin(), metadata.end());
  return metadata;
}

// --- Every volume that s3backer wrote ---

class EachStoredVolume : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { fill(store_, volume_); }

  const StoredVolume volume_ = load(GetParam());
  MemoryStore store_;
};

INSTANTIATE_TEST_SUITE_P(Vectors, EachStoredVolume,
                         ::testing::ValuesIn(s3backer_vectors::volume_names()),
                         [](const auto& volume) {
                           std::string name = volume.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(EachStoredVolume, OpensAndReadsWhole) {
  const VolumeLayout layout = open_volume(store_, request_for(volume_));
  EXPECT_EQ(layout.layout, Layout::s3backer);
  EXPECT_EQ(layout.size_bytes, kDisk);
  EXPECT_EQ(layout.object_size, kBlockSize);
  EXPECT_EQ(layout.mount_token, volume_.prefix + "s3backer-mounted");
  EXPECT_EQ(read_all(store_, layout), image());
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

// Where its prefix is a key.
TEST_P(EachStoredVolume, IsFoundOutByItself) {
  if (!volume_.prefix.empty() && !volume_.prefix.ends_with('/')) return;
  VolumeRequest request{.bucket = volume_.bucket,
                        .key = volume_.prefix.substr(0, volume_.prefix.find('/'))};
  request.passphrase = volume_.password;
  const VolumeLayout layout = open_volume(store_, request);
  EXPECT_EQ(layout.layout, Layout::s3backer);
  EXPECT_EQ(read_all(store_, layout), image());
}

// Of volumes with plain blocks nothing is dropped: no word can stand for both kinds.
TEST_P(EachStoredVolume, IsReadWhereTheServiceDropsItsEncoding) {
  std::set<std::string> encodings;
  for (const StoredObject& object : volume_.objects) {
    encodings.insert(object.attributes.content_encoding);
  }
  VolumeRequest request = request_for(volume_);
  if (!encodings.contains("")) request.default_content_encoding = *encodings.rbegin();
  for (const StoredObject& object : volume_.objects) {
    ObjectAttributes attributes = object.attributes;
    if (attributes.content_encoding == request.default_content_encoding) {
      attributes.content_encoding.clear();
    }
    store_.place(object.key, object.body, attributes);
  }
  EXPECT_EQ(read_all(store_, open_volume(store_, request)), image());
  if (!request.default_content_encoding.empty() && volume_.password.has_value()) {
    request.default_content_encoding.clear();
    EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "is not encrypted"));
  }
}

// Bodies need the same library to be the same bytes (s3backer_format_test.cpp): zstd's are compared
// by what they decode to.
TEST_P(EachStoredVolume, WrittenBackIsTheSameObjects) {
  MemoryStore written;
  VolumeRequest request = request_for(volume_);
  request.size_bytes = kDisk;
  request.object_size = kBlockSize;
  request.compression = volume_.compression;
  request.compression_level = volume_.level;
  request.cipher = volume_.cipher;
  const VolumeLayout layout = open_volume(written, request);
  disk_of(written, layout)->pwrite(image(), 0, Durability::on_flush);
  EXPECT_EQ(written.keys(), store_.keys());
  EXPECT_EQ(read_all(written, open_volume(written, request_for(volume_))), image());
  if (GetParam() == "mixed") return;
  for (const StoredObject& object : volume_.objects) {
    SCOPED_TRACE(object.key);
    const auto attributes = written.attributes_of(object.key);
    ASSERT_TRUE(attributes.has_value());
    EXPECT_EQ(attributes->content_type, object.attributes.content_type);
    EXPECT_EQ(attributes->content_encoding, object.attributes.content_encoding);
    if (volume_.compression == Compression::zstd) continue;
    EXPECT_EQ(sorted(attributes->metadata), sorted(object.attributes.metadata));
    EXPECT_EQ(written.body_of(object.key), object.body);
  }
}

TEST_P(EachStoredVolume, ChangesInPartAreReadBackAndZerosRemoveObjects) {
  const VolumeLayout layout = open_volume(store_, request_for(volume_));
  Bytes expected = image();
  const auto disk = disk_of(store_, layout);
  const auto write = [&](const Bytes& data, std::uint64_t offset) {
    disk->pwrite(data, offset, Durability::on_flush);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  write(pattern(100, 1), 10);                             // in block 0
  write(pattern(3 * kBlockSize, 2), 7 * kBlockSize + 5);  // over blocks 7 to 10
  write(Bytes(kBlockSize), 16 * kBlockSize);              // a block becomes zeros
  disk->zero(kBlockSize, 255 * kBlockSize, {});
  std::fill_n(expected.begin() + 255 * kBlockSize, kBlockSize, std::byte{0});
  Bytes data(kDisk);
  disk->pread(data, 0);
  EXPECT_EQ(data, expected);
  EXPECT_FALSE(store_.body_of(volume_.names().block({16})).has_value());
  EXPECT_FALSE(store_.body_of(volume_.names().block({255})).has_value());
  const auto attributes = store_.attributes_of(volume_.names().block({0}));
  EXPECT_EQ(attributes->metadata_of("s3backer-filesize"), std::to_string(kDisk));
  EXPECT_EQ(attributes->metadata_of("s3backer-blocksize"), std::to_string(kBlockSize));
  EXPECT_EQ(read_all(store_, open_volume(store_, request_for(volume_))), expected);
}

TEST_P(EachStoredVolume, NamesOfTheOtherKindAreRefusedEitherWay) {
  VolumeRequest request = request_for(volume_);
  request.hash_prefix = !volume_.with_hash;
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL),
                       volume_.with_hash ? "block-hash-prefix=true" : "block-hash-prefix=false"));
}

TEST_P(EachStoredVolume, WhatIsSaidAboutEncryptionMustBeSo) {
  VolumeRequest request = request_for(volume_);
  if (!volume_.password.has_value()) {
    request.passphrase = "tell nobody";
    const std::string text = refusal(store_, request, EINVAL);
    EXPECT_TRUE(contains(text, "not encrypted"));
    EXPECT_FALSE(contains(text, "tell nobody"));
    return;
  }
  request.cipher = "AES-192-CBC";
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), volume_.cipher));
  request.cipher.clear();
  request.passphrase.reset();
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "passphrase="));
  request.passphrase = "tell nobody";
  const std::string text = refusal(store_, request, EACCES);
  EXPECT_TRUE(contains(text, "passphrase"));
  EXPECT_FALSE(contains(text, "tell nobody"));
  request.readonly = true;
  EXPECT_NO_THROW(open_volume(store_, request)) << "damage must not be in the way of a rescue";
}

// --- Automatic detection, and names ---

class S3backerOpenTest : public ::testing::Test {
 protected:
  static VolumeRequest request() {
    return {.bucket = "b", .key = "disk", .layout = Layout::s3backer};
  }
  void place(const S3backerNames& names, std::uint64_t block, Metadata metadata = {}) {
    store_.place(names.block({block}), pattern(kBlockSize, static_cast<unsigned>(block)),
                 {.content_type = "application/x-s3backer-block", .metadata = std::move(metadata)});
  }
  void place_block_0(std::uint64_t size_bytes) {
    place(plain_, 0,
          {{"s3backer-blocksize", "4096"}, {"s3backer-filesize", std::to_string(size_bytes)}});
  }

  MemoryStore store_;
  const S3backerNames plain_{"disk/", false};
  const S3backerNames hashed_{"disk/", true};
};

TEST_F(S3backerOpenTest, HashedNamesAreFoundOutByThemselves) {
  place(hashed_, 0, {{"s3backer-blocksize", "4096"}, {"s3backer-filesize", "1048576"}});
  place(hashed_, 9);
  VolumeRequest request = S3backerOpenTest::request();
  request.layout = Layout::automatic;
  const VolumeLayout layout = open_volume(store_, request);
  EXPECT_FALSE(layout.format->names_are_ordered());
  Bytes data(kBlockSize);
  disk_of(store_, layout)->pread(data, 9 * kBlockSize);
  EXPECT_EQ(data, pattern(kBlockSize, 9));
}

TEST_F(S3backerOpenTest, ANewVolumeIsTakenAsGiven) {
  VolumeRequest request = S3backerOpenTest::request();
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "size="));
  request.size_bytes = kDisk;
  const VolumeLayout layout = open_volume(store_, request);
  EXPECT_EQ(layout.object_size, 4096U);
  EXPECT_TRUE(store_.keys().empty());
}

// --- Geometry ---

TEST_F(S3backerOpenTest, BlocksBehindTheEndAreSeenWithoutListingThemAll) {
  place_block_0(kDisk);
  for (std::uint64_t i = 0; i < 5000; ++i) place(plain_, 256 + i);
  EXPECT_TRUE(contains(refusal(store_, request(), EINVAL), "give the size"));
  EXPECT_LE(store_.list_requests(), 3U);
}

// Of a size recorded modulo 2^32, the given one counts: but only where nothing lies behind it.
TEST_F(S3backerOpenTest, ASizeModulo4GiBIsMadeUpFor) {
  constexpr std::uint64_t kSize = (std::uint64_t{4} << 30U) + kDisk;
  place_block_0(kDisk);
  place(plain_, 300);
  VolumeRequest request = S3backerOpenTest::request();
  request.size_bytes = kSize;
  EXPECT_EQ(open_volume(store_, request).size_bytes, kSize);
  place(plain_, kSize / kBlockSize);
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "lies behind"));
}

TEST_F(S3backerOpenTest, AnotherSizeNeedsForce) {
  place_block_0(kDisk);
  place(plain_, 1);
  VolumeRequest request = S3backerOpenTest::request();
  request.size_bytes = 2 * kDisk;
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "1048576"));
  request.force_size = true;
  EXPECT_EQ(open_volume(store_, request).size_bytes, 2 * kDisk);
}

TEST_F(S3backerOpenTest, AnotherBlockSizeIsRefusedAndWithoutBlock0ItIsAskedFor) {
  place_block_0(kDisk);
  VolumeRequest request = S3backerOpenTest::request();
  request.object_size = 8192;
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "8192"));
  store_.drop("disk/00000000");
  place(plain_, 7);
  request.object_size.reset();
  request.size_bytes = kDisk;
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "block size"));
}

TEST_F(S3backerOpenTest, TheHighestHashedBlockIsFoundAmongAll) {
  place(hashed_, 0, {{"s3backer-blocksize", "4096"}, {"s3backer-filesize", "1048576"}});
  for (std::uint64_t i = 1; i < 200; ++i) place(hashed_, i);
  VolumeRequest request = S3backerOpenTest::request();
  request.hash_prefix = true;
  EXPECT_EQ(open_volume(store_, request).size_bytes, kDisk);
  place(hashed_, 256);
  EXPECT_TRUE(contains(refusal(store_, request, EINVAL), "-00000100"));
}

// --- The mount token ---

TEST_F(S3backerOpenTest, TheMountTokenKeepsOthersOutAndGoes) {
  place_block_0(kDisk);
  const VolumeLayout layout = open_volume(store_, request());
  EXPECT_FALSE(store_.body_of("disk/s3backer-mounted").has_value()) << "opening puts none";
  const std::string first = put_mount_token(store_, layout, false);
  const auto token = store_.body_of("disk/s3backer-mounted");
  ASSERT_TRUE(token.has_value());
  const auto attributes = store_.attributes_of("disk/s3backer-mounted");
  EXPECT_TRUE(attributes->metadata_of("s3backer-mount-token").has_value());
  try {
    put_mount_token(store_, layout, false);
    FAIL() << "mounted twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_TRUE(contains(error.what(), "disk/s3backer-mounted")) << error.what();
    EXPECT_TRUE(contains(error.what(), "own=force")) << error.what();
  }
  EXPECT_EQ(store_.body_of("disk/s3backer-mounted"), token);
  const std::string forced = put_mount_token(store_, layout, true);
  EXPECT_NE(store_.attributes_of("disk/s3backer-mounted")->metadata, attributes->metadata);
  EXPECT_NO_THROW(open_volume(store_, request())) << "the token is no block";
  remove_mount_token(store_, layout, first);
  EXPECT_TRUE(store_.body_of("disk/s3backer-mounted").has_value()) << "it is somebody else's now";
  remove_mount_token(store_, layout, forced);
  EXPECT_EQ(store_.keys(), std::vector<std::string>{"disk/00000000"});
}

}  // namespace
}  // namespace nbdstack
