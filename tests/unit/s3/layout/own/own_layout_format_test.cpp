// The bytes of the objects of nbdstack's own layout: docs/formats/own-layout.md describes them, and
// tests/vectors/own-layout holds them. Today's plugin writes exactly these bytes, and it reads them
// as what they were. A vector is never changed: a plugin that writes something else has another
// format, and has to go on reading this one.
//
// What compression makes belongs to the library. A new version of libzstd or zlib may make other
// bytes of the same block; then only the tests of what is written need another vector.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "plugins/s3/store/directory/object_file.hpp"
#include "plugins/s3/store/piece_checksums.hpp"
#include "tests/unit/fakes/fixed_key.hpp"
#include "tests/unit/fakes/golden.hpp"

namespace nbdstack::testing {
namespace {

using Vector = std::vector<std::byte>;

const std::string kGoldenId = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
constexpr std::uint32_t kGoldenBlock_bytes = 4096;
constexpr BlockNumber kGoldenBlock{0x123456789a};
const std::string kGoldenName = "disk/000000123456789a";

Vector repeated(int value, std::size_t count) {
  return Vector(count, static_cast<std::byte>(value));
}

// --- Descriptor ---

VolumeDescriptor plain_descriptor() {
  VolumeDescriptor descriptor;
  descriptor.size_bytes = 10737418240;
  descriptor.object_size = 1048576;
  descriptor.id = kGoldenId;
  return descriptor;
}

VolumeDescriptor read_descriptor_vector(const std::string& name) {
  return VolumeDescriptor::parse(golden_text("own-layout/" + name), name);
}

TEST(OwnLayoutDescriptor, IsWrittenAsItAlwaysWas) {
  expect_golden("own-layout/volume-1.json", plain_descriptor().to_json());
  VolumeDescriptor framed = plain_descriptor();
  EXPECT_TRUE(framed.allow_frames());
  expect_golden("own-layout/volume-2.json", framed.to_json());
}

TEST(OwnLayoutDescriptor, IsReadAsItWasWritten) {
  for (const bool framed : {false, true}) {
    const auto found = read_descriptor_vector(framed ? "volume-2.json" : "volume-1.json");
    EXPECT_EQ(found.size_bytes, 10737418240U);
    EXPECT_EQ(found.object_size, 1048576U);
    EXPECT_EQ(found.id, kGoldenId);
    EXPECT_EQ(found.framed, framed);
    EXPECT_FALSE(found.encryption);
  }
}

// tests/support/formats.py made the key and the code, and not the program under test.
TEST(OwnLayoutDescriptor, OfAnEncryptedVolumeIsUnlockedAndWrittenAsItWasRead) {
  VolumeDescriptor found = read_descriptor_vector("volume-2-encrypted.json");
  const std::optional<SecretKey> key = found.unlock("correct horse battery staple", "volume");
  EXPECT_EQ(to_hex(key->bytes()), to_hex(fixed_key(2).bytes()));
  expect_golden("own-layout/volume-2-encrypted.json", found.to_json());
  // The code of the geometry is made again.
  found.resize(2 * found.size_bytes, key);
  EXPECT_NE(found.to_json(), golden_text("own-layout/volume-2-encrypted.json"));
  found.resize(found.size_bytes / 2, key);
  expect_golden("own-layout/volume-2-encrypted.json", found.to_json());
}

TEST(OwnLayoutDescriptor, OfALaterVersionIsRefused) {
  std::string text = golden_text("own-layout/volume-2.json");
  text.replace(text.find("\"version\": 2"), 12, "\"version\": 3");
  EXPECT_THROW(VolumeDescriptor::parse(text, "volume"), Error);
}

// --- Lease ---

LeaseRecord golden_lease() {
  return {.state = LeaseRecord::State::held,
          .owner = "a9b8c7d6e5f40312a9b8c7d6e5f40312",
          .process = {.host_name = "vm-host-3",
                      .pid = 4711,
                      .start_time = 123456,
                      .boot_id = "01234567-89ab-cdef-0123-456789abcdef",
                      .pid_namespace = "pid:[4026531836]"},
          .since = "2026-01-31T12:00:00Z",
          .renewals = 12,
          .duration = std::chrono::milliseconds(30000),
          .term = LeaseTerm{.number = 70, .changed_in = 50, .unchanged = {55, 61}}};
}

TEST(OwnLayoutLease, IsWrittenAsItAlwaysWas) {
  expect_golden("own-layout/lease-3.json", golden_lease().to_json());
  LeaseRecord without_term = golden_lease();
  without_term.state = LeaseRecord::State::released;
  without_term.term.reset();
  expect_golden("own-layout/lease-1.json", without_term.to_json());
}

TEST(OwnLayoutLease, OfEveryVersionIsReadAsItWasWritten) {
  const auto parsed = [](const std::string& name) {
    return LeaseRecord::parse(golden_text("own-layout/" + name), name);
  };
  const LeaseRecord latest = parsed("lease-3.json");
  EXPECT_EQ(latest.to_json(), golden_lease().to_json());
  EXPECT_EQ(latest.term, golden_lease().term);
  EXPECT_FALSE(parsed("lease-1.json").term);
  EXPECT_EQ(parsed("lease-1.json").state, LeaseRecord::State::released);
  EXPECT_EQ(parsed("lease-2.json").term,
            (LeaseTerm{.number = 7, .changed_in = 5, .unchanged = {6}}));
}

// --- Record of blocks ---

BlockRecord golden_blocks() {
  return {.state = BlockRecord::State::recorded,
          .volume_id = kGoldenId,
          .owner = "a9b8c7d6e5f40312a9b8c7d6e5f40312",
          .process = {},
          .block_count = 1000,
          .blocks = {{.blocks = {0, 3}, .stored = true},
                     {.blocks = {3, 500}, .stored = false},
                     {.blocks = {600, 1}, .stored = true}}};
}

TEST(OwnLayoutBlocks, AreWrittenAsTheyAlwaysWere) {
  expect_golden("own-layout/blocks.hex", *golden_blocks().to_bytes());
}

TEST(OwnLayoutBlocks, AreReadAsTheyWereWritten) {
  const auto found = BlockRecord::parse(golden("own-layout/blocks.hex"), "blocks");
  EXPECT_EQ(found.state, BlockRecord::State::recorded);
  EXPECT_EQ(found.volume_id, kGoldenId);
  EXPECT_EQ(found.owner, golden_blocks().owner);
  EXPECT_EQ(found.block_count, 1000U);
  EXPECT_EQ(found.blocks, golden_blocks().blocks);
}

// --- Blocks ---

OwnFormat format_with(Compression compression, bool encrypted = false) {
  OwnFormatSettings settings{.key = "disk",
                             .object_size = kGoldenBlock_bytes,
                             .volume_id = kGoldenId,
                             .compression = compression,
                             .framed = true};
  if (encrypted) settings.volume_key = fixed_key(2);
  return OwnFormat(std::move(settings));
}

Vector decoded(const OwnFormat& format, const Vector& body) {
  Vector data(kGoldenBlock_bytes);
  format.decode(kGoldenBlock, body, {}, data);
  return data;
}

TEST(OwnLayoutBlock, IsCalledAsItAlwaysWas) {
  EXPECT_EQ(format_with(Compression::none).name_of(kGoldenBlock), kGoldenName);
  const auto found = format_with(Compression::none).parse_name(kGoldenName);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->value, kGoldenBlock.value);
}

TEST(OwnLayoutBlock, FramesAreWrittenAndReadAsTheyAlwaysWere) {
  const Vector block = repeated(0x61, kGoldenBlock_bytes);
  for (const Compression compression : {Compression::deflate, Compression::zstd}) {
    const std::string name = fmt::format("own-layout/frame-{}.hex", to_string(compression));
    const OwnFormat format = format_with(compression);
    const auto encoded = format.encode(kGoldenBlock, block);
    expect_golden(name, encoded.body);
    EXPECT_EQ(decoded(format, golden(name)), block);
  }
}

TEST(OwnLayoutBlock, SealedFramesAreRead) {
  const Vector block = repeated(0x62, kGoldenBlock_bytes);
  const Vector sealed = golden("own-layout/sealed-zstd.hex");
  const OwnFormat format = format_with(Compression::zstd, true);
  EXPECT_EQ(decoded(format, sealed), block);
  // What is written is as long, and begins alike: the nonce is random.
  const auto encoded = format.encode(kGoldenBlock, block);
  ASSERT_EQ(encoded.body.size(), sealed.size());
  EXPECT_TRUE(std::equal(sealed.begin(), sealed.begin() + 16, encoded.body.begin()));
  EXPECT_EQ(decoded(format, Vector(encoded.body.begin(), encoded.body.end())), block);
}

TEST(OwnLayoutBlock, OfALaterVersionIsRefused) {
  Vector frame = golden("own-layout/frame-zstd.hex");
  frame.at(6) = std::byte{2};
  EXPECT_THROW(decoded(format_with(Compression::none), frame), Error);
}

// --- Checksums of pieces, and files of a directory ---

Vector two_pieces() {
  Vector body = repeated(0x61, 65536);
  body.resize(98304, std::byte{0x62});
  return body;
}

TEST(OwnLayoutPieces, AreWrittenAndReadAsTheyAlwaysWere) {
  const Vector body = two_pieces();
  const auto pieces = PieceChecksums::of(body);
  ASSERT_TRUE(pieces);
  expect_golden("own-layout/pieces.txt", pieces->to_text() + "\n");
  std::string text = golden_text("own-layout/pieces.txt");
  text.pop_back();
  EXPECT_EQ(PieceChecksums::parse_text(text, body.size()), *pieces);
}

class OwnLayoutFile : public ::testing::Test {
 protected:
  OwnLayoutFile() {
    std::string path = ::testing::TempDir() + "own-layout-XXXXXX";
    directory_ = ::mkdtemp(path.data());
  }
  ~OwnLayoutFile() override { std::filesystem::remove_all(directory_); }

  void expect_file(const std::string& name, const Vector& body) const {
    const std::string path = directory_ / "object";
    const File file = File::open(path, O_RDWR | O_CREAT | O_TRUNC);
    write_object_file(file, body);
    Vector written(file.size_bytes());
    file.read_at(written, 0);
    expect_golden(name, written);

    const Vector expected = golden(name);
    const File stored = File::open(path, O_RDWR | O_TRUNC);
    stored.write_at(expected, 0);
    const auto found = ObjectFile::open(path);
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->whole_checksum().empty());
    Vector read(body.size());
    found->read_body(read);
    EXPECT_EQ(read, body);
  }

  std::filesystem::path directory_;
};

TEST_F(OwnLayoutFile, WithoutPiecesIsWrittenAndReadAsItAlwaysWas) {
  expect_file("own-layout/object-file-1.hex", repeated(0x63, 4096));
}

TEST_F(OwnLayoutFile, WithPiecesIsWrittenAndReadAsItAlwaysWas) {
  expect_file("own-layout/object-file-2.hex", two_pieces());
}

// --- The control: each field has its place in the bytes ---

template <typename Record>
using Changes = std::vector<std::function<void(Record&)>>;

TEST(OwnLayoutControl, AFieldOfALeaseThatChangesChangesTheBytes) {
  const Changes<LeaseRecord> changes{
      [](auto& each) { each.state = LeaseRecord::State::released; },
      [](auto& each) { each.owner[0] = 'f'; },
      [](auto& each) { each.process.host_name += "x"; },
      [](auto& each) { ++each.process.pid; },
      [](auto& each) { ++each.process.start_time; },
      [](auto& each) { each.process.boot_id += "x"; },
      [](auto& each) { each.process.pid_namespace += "x"; },
      [](auto& each) { each.since += "x"; },
      [](auto& each) { ++each.renewals; },
      [](auto& each) { ++each.duration; },
      [](auto& each) { ++each.term->number; },
      [](auto& each) { ++each.term->changed_in; },
      [](auto& each) { each.term->unchanged.pop_back(); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    LeaseRecord changed = golden_lease();
    changes[i](changed);
    EXPECT_NE(changed.to_json(), golden_text("own-layout/lease-3.json")) << "change " << i;
  }
}

TEST(OwnLayoutControl, AFieldOfARecordOfBlocksThatChangesChangesTheBytes) {
  const Changes<BlockRecord> changes{
      [](auto& each) { each.state = BlockRecord::State::unowned; },
      [](auto& each) { each.volume_id[0] = 'f'; },
      [](auto& each) { each.owner[0] = 'f'; },
      [](auto& each) { each.process.pid = 1; },
      [](auto& each) { ++each.block_count; },
      [](auto& each) { each.blocks[1].stored = true; },
      [](auto& each) { ++each.blocks[2].blocks.offset; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    BlockRecord changed = golden_blocks();
    changes[i](changed);
    EXPECT_NE(first_difference(golden("own-layout/blocks.hex"), *changed.to_bytes()), "")
        << "change " << i;
  }
}

}  // namespace
}  // namespace nbdstack::testing
