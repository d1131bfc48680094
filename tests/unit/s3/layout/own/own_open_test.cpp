// Volumes of our own layout: encrypted ones, compressed ones, and what must not be done to either.
#include "plugins/s3/layout/own/own_open.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "plugins/s3/volume/volume_open.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::kObject;
using testing::MemoryStore;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kSize = 1024UL * 1024;
constexpr const char* kDescriptor = "disk/nbdstack-volume.json";

class OwnOpenTest : public ::testing::Test {
 protected:
  static VolumeRequest request() { return {.bucket = "b", .key = "disk"}; }
  static VolumeRequest creation() {
    VolumeRequest request = OwnOpenTest::request();
    request.size_bytes = kSize;
    request.object_size = kObject;
    return request;
  }
  VolumeLayout open(const VolumeRequest& request) { return open_volume(store_, request); }

  void expect_refusal(const VolumeRequest& request, int code, const std::string& word) {
    const auto before = store_.keys();
    store_.forget_calls();
    try {
      open(request);
      FAIL() << "opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      if (!request.passphrase.value_or("").empty()) {
        EXPECT_EQ(std::string(error.what()).find(*request.passphrase), std::string::npos);
      }
    }
    EXPECT_TRUE(store_.calls(StoreOp::put).empty());
    EXPECT_TRUE(store_.calls(StoreOp::remove).empty());
    EXPECT_EQ(store_.keys(), before);
  }
  void write(const VolumeLayout& layout, std::uint64_t block, const Bytes& data) {
    make_disk(store_, layout, {.connections = 2})
        ->pwrite(data, block * kObject, Durability::on_flush);
  }
  Bytes read(const VolumeLayout& layout, std::uint64_t block) {
    Bytes data(kObject);
    make_disk(store_, layout, {.connections = 2})->pread(data, block * kObject);
    return data;
  }

  MemoryStore store_;
};

// --- Encryption ---

TEST_F(OwnOpenTest, AnEncryptedVolumeOpensWithItsPassphraseAndNoOther) {
  VolumeRequest request = creation();
  request.passphrase = "correct horse";
  request.cipher = "aes-256-gcm";
  write(open(request), 3, pattern(kObject, 3));

  VolumeRequest again = OwnOpenTest::request();
  again.passphrase = "correct horse";
  EXPECT_EQ(read(open(again), 3), pattern(kObject, 3));
  EXPECT_NE(store_.body_of("disk/0000000000000003"), pattern(kObject, 3));

  again.passphrase = "wrong battery";
  expect_refusal(again, EACCES, kDescriptor);
  again.passphrase.reset();
  expect_refusal(again, EINVAL, "passphrase=");
  again.readonly = true;
  expect_refusal(again, EINVAL, "passphrase=");
}

TEST_F(OwnOpenTest, APassphraseOrCipherForAVolumeThatIsNotEncryptedIsRefused) {
  open(creation());
  VolumeRequest request = OwnOpenTest::request();
  request.passphrase = "correct horse";
  expect_refusal(request, EINVAL, "not encrypted");
  request.passphrase.reset();
  request.cipher = "aes-256-gcm";
  expect_refusal(request, EINVAL, "not encrypted");
}

TEST_F(OwnOpenTest, AnUnknownCipherOrNoPassphraseCreatesNothing) {
  VolumeRequest request = creation();
  request.cipher = "aes-256-gcm";
  expect_refusal(request, EINVAL, "passphrase=");
  request.cipher = "AES-128-CBC";
  request.passphrase = "correct horse";
  expect_refusal(request, EINVAL, "encrypt=AES-128-CBC");
  request.cipher.clear();
  request.passphrase = "";
  expect_refusal(request, EINVAL, "passphrase");
}

TEST_F(OwnOpenTest, ADiskImageIsNotEncrypted) {
  store_.place("disk", pattern(100, 1));
  VolumeRequest request = OwnOpenTest::request();
  request.passphrase = "correct horse";
  expect_refusal(request, EINVAL, "not encrypted");
}

// --- Compression ---

TEST_F(OwnOpenTest, ANewVolumeThatIsCompressedNeedsNoChange) {
  VolumeRequest request = creation();
  request.compression = Compression::zstd;
  const VolumeLayout layout = open(request);
  EXPECT_FALSE(layout.descriptor_change.has_value());
  write(layout, 1, Bytes(kObject, std::byte{7}));
  EXPECT_LT(store_.body_of("disk/0000000000000001")->size(), kObject);
  EXPECT_EQ(read(open(OwnOpenTest::request()), 1), Bytes(kObject, std::byte{7}));
}

TEST_F(OwnOpenTest, ALevelThatThereIsNotCreatesNothing) {
  VolumeRequest request = creation();
  request.compression = Compression::deflate;
  request.compression_level = 10;
  expect_refusal(request, EINVAL, "compress-level=10");
}

TEST_F(OwnOpenTest, CompressingAPlainVolumeChangesItsDescriptorFirst) {
  write(open(creation()), 1, pattern(kObject, 1));
  const auto before = store_.body_of(kDescriptor);
  VolumeRequest request = OwnOpenTest::request();
  request.compression = Compression::deflate;
  store_.forget_calls();
  const VolumeLayout layout = open(request);
  EXPECT_TRUE(store_.calls(StoreOp::put).empty()) << "opening changes nothing yet";
  ASSERT_TRUE(layout.descriptor_change.has_value());
  replace_descriptor(store_, layout.descriptor_change->read, layout.descriptor_change->changed,
                     "disk");
  EXPECT_NE(store_.body_of(kDescriptor), before);
  EXPECT_EQ(store_.keys(), (std::vector<std::string>{"disk/0000000000000001", kDescriptor}));
  write(layout, 2, Bytes(kObject, std::byte{2}));
  EXPECT_LT(store_.body_of("disk/0000000000000002")->size(), kObject);
  EXPECT_EQ(read(layout, 1), pattern(kObject, 1)) << "what was plain stays readable";
  EXPECT_EQ(read(open(OwnOpenTest::request()), 2), Bytes(kObject, std::byte{2}));
  EXPECT_FALSE(open(request).descriptor_change.has_value()) << "once is enough";
}

TEST_F(OwnOpenTest, ReadonlyChangesNothing) {
  VolumeRequest request = creation();
  request.readonly = true;
  expect_refusal(request, EROFS, "readonly=true");
  open(creation());
  request.compression = Compression::zstd;
  store_.forget_calls();
  EXPECT_FALSE(open(request).descriptor_change.has_value());
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

class ReplaceDescriptorTest : public OwnOpenTest {
 protected:
  VolumeLayout::DescriptorChange change() {
    open(creation());
    VolumeRequest request = OwnOpenTest::request();
    request.compression = Compression::zstd;
    return *open(request).descriptor_change;
  }
  void replace(const VolumeLayout::DescriptorChange& change) {
    replace_descriptor(store_, change.read, change.changed, "disk");
  }
  void expect_busy(const VolumeLayout::DescriptorChange& change) {
    try {
      replace(change);
      FAIL() << "replaced";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EBUSY) << error.what();
      EXPECT_NE(std::string(error.what()).find(kDescriptor), std::string::npos);
    }
  }
  void place_another() {
    store_.place_text(kDescriptor, VolumeDescriptor::make(2 * kSize, kObject).to_json());
  }
  // A store that takes conditions and does not look at them: every PUT replaces.
  void ignore_conditions() {
    store_.on_call([this](const StoreCall& call) {
      if (call.op == StoreOp::put && call.keys.front() != kDescriptor)
        store_.drop(call.keys.front());
    });
  }
};

TEST_F(ReplaceDescriptorTest, ADescriptorThatChangedMeanwhileStays) {
  const auto change = this->change();
  place_another();
  const auto theirs = store_.body_of(kDescriptor);
  expect_busy(change);
  EXPECT_EQ(store_.body_of(kDescriptor), theirs);
}

TEST_F(ReplaceDescriptorTest, ADescriptorThatVanishedIsNotBroughtBack) {
  const auto change = this->change();
  store_.drop(kDescriptor);
  expect_busy(change);
  EXPECT_EQ(store_.body_of(kDescriptor), std::nullopt);
}

TEST_F(ReplaceDescriptorTest, WithoutConditionsALookMustDo) {
  const auto change = this->change();
  ignore_conditions();
  place_another();
  expect_busy(change);
  store_.place_text(kDescriptor, change.read.text);
  replace(change);
  store_.on_call({});
  EXPECT_TRUE(open(OwnOpenTest::request()).format->overhead_bytes() == 0);
  EXPECT_FALSE(open(OwnOpenTest::request()).format->is_plain());
}

// The first attempt was stored, its answer lost, and the second finds its own work.
TEST_F(ReplaceDescriptorTest, ALostAnswerIsNoFailure) {
  const auto change = this->change();
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put && call.keys.front() == kDescriptor) {
      store_.place_text(kDescriptor, change.changed.to_json());
    }
  });
  replace(change);
}

// --- Sizes and layouts ---

TEST_F(OwnOpenTest, ObjectSizesOfOtherLayoutsAreRefused) {
  for (const std::uint32_t size : {512U, 5000U, 64U * 1024 * 1024}) {
    VolumeRequest request = creation();
    request.object_size = size;
    expect_refusal(request, EINVAL, "object-size=" + std::to_string(size));
  }
  store_.place("disk/0000000000000003", pattern(512, 3));
  VolumeRequest request = creation();
  request.object_size = 512;
  expect_refusal(request, EINVAL, "object-size=512");
}

TEST_F(OwnOpenTest, AForeignVolumeIsNeitherCompressedNorEncrypted) {
  store_.place("disk/0000000000000003", pattern(kObject, 3));
  VolumeRequest request = creation();
  request.compression = Compression::zstd;
  expect_refusal(request, EINVAL, "compress=");
  request.compression = Compression::none;
  EXPECT_EQ(read(open(request), 3), pattern(kObject, 3));
  request.passphrase = "correct horse";
  expect_refusal(request, EINVAL, "passphrase=");
  request.passphrase.reset();
  request.cipher = "aes-256-gcm";
  expect_refusal(request, EINVAL, "encrypt=");
}

TEST_F(OwnOpenTest, LayoutOwnRefusesBlocksOfS3backers) {
  store_.place("disk/00000003", pattern(kObject, 3));
  VolumeRequest request = creation();
  request.layout = Layout::own;
  expect_refusal(request, EINVAL, "disk/00000003");
}

TEST_F(OwnOpenTest, LayoutS3backerRefusesAVolumeOfOurs) {
  VolumeRequest request = creation();
  request.layout = Layout::s3backer;
  const VolumeLayout own = open(creation());
  expect_refusal(request, EINVAL, kDescriptor);
  write(own, 3, pattern(kObject, 3));
  expect_refusal(request, EINVAL, kDescriptor);
  store_.drop(kDescriptor);
  expect_refusal(request, EINVAL, "disk/0000000000000003");
}

TEST_F(OwnOpenTest, ParametersOfS3backersAloneAskForItsLayout) {
  VolumeRequest request = creation();
  request.hash_prefix = true;
  expect_refusal(request, EINVAL, "layout=s3backer");
  request.hash_prefix = false;
  request.prefix = "dir/";
  expect_refusal(request, EINVAL, "layout=s3backer");
}

// Names of blocks begin with a hexadecimal digit: what sorts behind is not looked through.
TEST_F(OwnOpenTest, ABucketFullOfOtherThingsIsNoHindrance) {
  for (int i = 0; i < 20'000; ++i) store_.place(fmt::format("other/{}", i), {});
  VolumeRequest request = creation();
  request.key.clear();
  open(request);
  EXPECT_EQ(store_.list_requests(), 2U) << "one for blocks, one that has to show the descriptor";
}

}  // namespace
}  // namespace nbdstack
