// How a volume is found or created, and what is refused.
#include "plugins/s3/volume/volume_open.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack {
namespace {

using testing::MemoryStore;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kOneMiB = 1024UL * 1024;

class VolumeOpenTest : public ::testing::Test {
 protected:
  VolumeLayout open(std::optional<std::uint64_t> size, std::optional<std::uint32_t> object_size,
                    const std::string& key = "disk") {
    return open_volume(store_,
                       {.bucket = "b", .key = key, .size_bytes = size, .object_size = object_size});
  }
  // The error of an open that must fail, which names everything in `words`.
  void expect_refusal(int code, const std::vector<std::string>& words,
                      std::optional<std::uint64_t> size, std::optional<std::uint32_t> object_size,
                      const std::string& key = "disk") {
    try {
      open(size, object_size, key);
      FAIL() << "opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      for (const std::string& word : words) {
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
            << '"' << word << "\" is not in: " << error.what();
      }
    }
  }
  void place_descriptor(std::uint64_t size, std::uint32_t object_size) {
    store_.place_text("disk/nbdstack-volume.json",
                      VolumeDescriptor::make(size, object_size).to_json());
  }

  MemoryStore store_;
};

TEST_F(VolumeOpenTest, SizeCreatesAVolumeThatOpensByItsNameAlone) {
  const VolumeLayout created = open(10 * kOneMiB, 65536);
  EXPECT_EQ(store_.keys(), std::vector<std::string>{"disk/nbdstack-volume.json"});
  const VolumeLayout opened = open({}, {});
  EXPECT_EQ(opened.size_bytes, 10 * kOneMiB);
  EXPECT_EQ(opened.object_size, 65536U);
  EXPECT_EQ(opened.kind, VolumeKind::blocks);
  EXPECT_EQ(created.object_size, opened.object_size);
}

TEST_F(VolumeOpenTest, AVolumeWithoutKeyHasItsBlocksAtTheTop) {
  const VolumeLayout layout = open(kOneMiB, {}, "");
  EXPECT_EQ(layout.object_size, kObjectSize_bytes_default);
  make_disk(store_, layout, {.connections = 4})
      ->pwrite(pattern(kOneMiB, 1), 0, Durability::on_flush);
  EXPECT_EQ(store_.keys(), (std::vector<std::string>{"0000000000000000", "nbdstack-volume.json"}));
}

TEST_F(VolumeOpenTest, TheSameParametersOpenAnExistingVolume) {
  place_descriptor(10 * kOneMiB, 65536);
  EXPECT_EQ(open(10 * kOneMiB, 65536).size_bytes, 10 * kOneMiB);
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeOpenTest, AnotherSizeIsRefusedNamingBoth) {
  place_descriptor(10 * kOneMiB, 65536);
  expect_refusal(EINVAL, {"size=20971520", "size=10485760", "disk"}, 20 * kOneMiB, {});
}

TEST_F(VolumeOpenTest, AnotherObjectSizeIsRefusedNamingBoth) {
  place_descriptor(10 * kOneMiB, 65536);
  expect_refusal(EINVAL, {"object-size=4096", "object-size=65536"}, 10 * kOneMiB, 4096);
  expect_refusal(EINVAL, {"object-size=4096", "object-size=65536"}, {}, 4096);
}

TEST_F(VolumeOpenTest, NothingThereAndNoSizeAsksForSize) {
  expect_refusal(ENOENT, {"bucket b, key disk", "size="}, {}, {});
  expect_refusal(ENOENT, {"bucket b", "size="}, {}, {}, "");
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeOpenTest, ADescriptorOfALaterVersionIsRefusedAndKept) {
  store_.place_text("disk/nbdstack-volume.json", R"({"format": "nbdstack-volume", "version": 7})");
  expect_refusal(EINVAL, {"nbdstack-volume.json", "version 7"}, kOneMiB, {});
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeOpenTest, OnlyWhoIsAskedForImagesServesAnyObjectAsADisk) {
  store_.place("vols/passwords.txt", pattern(100, 1));
  VolumeRequest request{.bucket = "b", .key = "vols/passwords.txt"};
  EXPECT_EQ(open_volume(store_, request).kind, VolumeKind::image);
  request.images = false;
  try {
    open_volume(store_, request);
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("volumes=any"), std::string::npos) << error.what();
  }
}

// --- What is certain of a new volume ---

TEST_F(VolumeOpenTest, AVolumeCreatedWhereListingsShowItIsNew) {
  EXPECT_TRUE(open(kOneMiB, 4096).is_new);
  EXPECT_FALSE(open(kOneMiB, 4096).is_new) << "the second time";
}

TEST_F(VolumeOpenTest, AVolumeCreatedWhereListingsDoNotShowItMayHaveBlocks) {
  store_.filter_listings([](const std::string& /*key*/) { return false; });
  store_.place("disk/0000000000000003", pattern(4096, 3));
  EXPECT_FALSE(open(kOneMiB, 4096).is_new);
}

TEST_F(VolumeOpenTest, TheLoserOfACreationHasNoNewVolume) {
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) place_descriptor(kOneMiB, 4096);
  });
  EXPECT_FALSE(open(kOneMiB, 4096).is_new);
}

// --- Slashes in keys ---

TEST(NormalisedKey, NamesOneVolumeHoweverManySlashes) {
  for (const char* key : {"v/w", "v/w/", "/v/w", "//v//w//"}) {
    EXPECT_EQ(normalised_key(key), "v/w") << key;
  }
  EXPECT_EQ(normalised_key(""), "");
  EXPECT_EQ(normalised_key("/"), "");
  EXPECT_EQ(normalised_key("a b/..c/d."), "a b/..c/d.");
  for (const char* key : {".", "..", "v/..", "../v", "v/./w", "a\nb", "\x1b"}) {
    EXPECT_THROW(normalised_key(key), Error) << key;
  }
  try {
    normalised_key("a/../b");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'a/../b'"), std::string::npos) << error.what();
  }
}

TEST_F(VolumeOpenTest, AVolumeOfAnEarlierVersionIsUsedWhereItLies) {
  const VolumeRequest given{.bucket = "b", .key = "v", .key_as_given = "v/"};
  EXPECT_EQ(resolve_key(store_, given), "v");
  store_.place("v//0000000000000000", pattern(4096, 1));
  EXPECT_EQ(resolve_key(store_, given), "v/");
  EXPECT_EQ(resolve_key(store_, {.bucket = "b", .key = "v"}), "v");
  store_.place_text("v/nbdstack-volume.json", "{}");
  EXPECT_THROW(resolve_key(store_, given), Error) << "which of the two?";
}

TEST_F(VolumeOpenTest, AKeyThatIsWrittenPlainlyCostsNoRequest) {
  EXPECT_EQ(resolve_key(store_, {.bucket = "b", .key = "v"}), "v");
  EXPECT_TRUE(store_.calls().empty());
}

// --- Two that create at once ---

TEST_F(VolumeOpenTest, TheLoserOfACreationRaceOpensTheWinnersVolume) {
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) place_descriptor(kOneMiB, 4096);
  });
  EXPECT_EQ(open(kOneMiB, 4096).object_size, 4096U);
}

TEST_F(VolumeOpenTest, TheLoserOfACreationRaceIsToldOfTheContradiction) {
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) place_descriptor(2 * kOneMiB, 4096);
  });
  expect_refusal(EINVAL, {"size=1048576", "size=2097152"}, kOneMiB, 4096);
}

TEST_F(VolumeOpenTest, AVolumeCreatedAndWrittenMeanwhileIsNotTakenForAForeignOne) {
  store_.on_call([&](const StoreCall& call) {
    if (call.op != StoreOp::list) return;
    place_descriptor(2 * kOneMiB, 4096);
    store_.place("disk/0000000000000000", pattern(4096, 1));
  });
  expect_refusal(EINVAL, {"size=1048576", "size=2097152"}, kOneMiB, 4096);
}

// --- Volumes of nbdkit's S3 plugin ---

TEST_F(VolumeOpenTest, AForeignVolumeOpensWithSizeAndObjectSizeAndStaysAsItIs) {
  store_.place("disk/0000000000000003", pattern(4096, 3));
  const VolumeLayout layout = open(kOneMiB, 4096);
  EXPECT_TRUE(store_.calls(StoreOp::put).empty()) << "its owner expects no descriptor";
  Bytes data(4096);
  make_disk(store_, layout, {.connections = 4})->pread(data, 3UL * 4096);
  EXPECT_EQ(data, pattern(4096, 3));
}

TEST_F(VolumeOpenTest, AForeignVolumeIsNotGuessedAt) {
  store_.place("disk/0000000000000003", pattern(4096, 3));
  expect_refusal(EINVAL, {"object-size=", "0000000000000003"}, kOneMiB, {});
  expect_refusal(EINVAL, {"size=", "object-size="}, {}, {});
  EXPECT_TRUE(store_.calls(StoreOp::put).empty());
}

TEST_F(VolumeOpenTest, AForeignVolumeOfAnotherObjectSizeIsRefusedNamingBoth) {
  store_.place("disk/0000000000000003", pattern(4096, 3));
  expect_refusal(EINVAL, {"object-size=8192", "4096 bytes"}, kOneMiB, 8192);
}

TEST_F(VolumeOpenTest, AForeignVolumeThatIsLargerThanSaidIsRefused) {
  store_.place("disk/0000000000000003", pattern(4096, 3));
  store_.place("disk/0000000000000100", pattern(4096, 4));
  expect_refusal(EINVAL, {"size=1048576", "0000000000000100"}, kOneMiB, 4096);
  EXPECT_EQ(open(kOneMiB + 1, 4096).size_bytes, kOneMiB + 1);
}

TEST_F(VolumeOpenTest, BlocksOfAnotherKeyAreNoForeignVolume) {
  store_.place("disk2/0000000000000003", pattern(4096, 3));
  store_.place("0000000000000003", pattern(4096, 3));
  EXPECT_EQ(open(kOneMiB, {}).object_size, kObjectSize_bytes_default);
}

// --- A disk image in one object ---

TEST_F(VolumeOpenTest, WhoMayGetOneObjectAndNothingElseIsServedIt) {
  store_.place("images/debian.raw", pattern(100, 1));
  store_.on_call([](const StoreCall& call) {
    const bool is_allowed = call.op != StoreOp::list && call.keys.front() == "images/debian.raw";
    if (!is_allowed) throw Error(EACCES, "AccessDenied");
  });
  EXPECT_EQ(open({}, {}, "images/debian.raw").kind, VolumeKind::image);
  expect_refusal(EACCES, {"AccessDenied"}, kOneMiB, {});
}

TEST_F(VolumeOpenTest, AnObjectNamedByKeyIsAReadOnlyDiskReadInPieces) {
  const Bytes image = pattern(3 * kOneMiB + 5, 1);
  store_.place("image.raw", image);
  const VolumeLayout layout = open({}, {}, "image.raw");
  EXPECT_EQ(layout.kind, VolumeKind::image);
  const auto disk = make_disk(store_, layout, {.connections = 4});
  EXPECT_EQ(disk->traits().size_bytes, image.size());
  EXPECT_FALSE(disk->traits().can_write);

  store_.forget_calls();
  Bytes data(image.size() - 1);
  disk->pread(data, 1);
  EXPECT_EQ(data, Bytes(image.begin() + 1, image.end()));
  EXPECT_EQ(store_.calls(StoreOp::get_range).size(), 4U);
  EXPECT_THROW(disk->pwrite(data, 0, Durability::on_flush), Error);
}

TEST_F(VolumeOpenTest, AnImageThatVanishesIsAnErrorAndNotZeros) {
  store_.place("image.raw", pattern(4096, 1));
  const auto disk = make_disk(store_, open({}, {}, "image.raw"), {.connections = 4});
  store_.drop("image.raw");
  Bytes data(100);
  EXPECT_THROW(disk->pread(data, 0), Error);
}

TEST_F(VolumeOpenTest, AnImageThatIsReplacedIsAnErrorAndNotHalfOfEach) {
  store_.place("image.raw", pattern(4096, 1));
  const auto disk = make_disk(store_, open({}, {}, "image.raw"), {.connections = 4});
  Bytes data(100);
  disk->pread(data, 0);
  store_.place("image.raw", pattern(4096, 2));
  EXPECT_THROW(disk->pread(data, 0), Error);
}

TEST_F(VolumeOpenTest, AVolumeComesBeforeAnImageOfTheSameName) {
  store_.place("disk", pattern(100, 1));
  place_descriptor(10 * kOneMiB, 65536);
  EXPECT_EQ(open({}, {}).kind, VolumeKind::blocks);
}

}  // namespace
}  // namespace nbdstack
