// Objects that a service shows for a moment while they are replaced: cut, empty, or the body of one
// version with the metadata of another. Each layout's decoder notices in its own way; the object is
// read again, and only one that stays like that is an error.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "plugins/s3/layout/s3backer/s3backer_format.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using testing::Answer;
using testing::answer;
using testing::error_answer;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kBlock_bytes = 4096;
constexpr BlockNumber kBlock{7};

enum class Layouts : std::uint8_t { plain, compressed, encrypted, s3backer, s3backer_encrypted };

std::unique_ptr<const BlockFormat> format_of(Layouts layout) {
  if (layout == Layouts::s3backer || layout == Layouts::s3backer_encrypted) {
    S3backerCoding coding{.compression = Compression::deflate};
    if (layout == Layouts::s3backer_encrypted) {
      coding.cipher = std::make_unique<S3backerCipher>(S3backerCipherSettings{
          .cipher = "AES-128-CBC", .password = "secret", .bucket = "disk", .prefix = "v/"});
    }
    return std::make_unique<S3backerFormat>(S3backerNames("v/", false),
                                            BlockGeometry(16UL * kBlock_bytes, kBlock_bytes),
                                            std::move(coding));
  }
  OwnFormatSettings settings{.key = "v", .object_size = kBlock_bytes, .volume_id = "0123"};
  settings.framed = layout != Layouts::plain;
  if (layout == Layouts::compressed) settings.compression = Compression::deflate;
  if (layout == Layouts::encrypted) settings.volume_key.emplace();
  return std::make_unique<OwnFormat>(std::move(settings));
}

// A block that compression makes shorter, another one for each seed.
Bytes block_of(unsigned seed) {
  std::mt19937 random(seed);
  Bytes data(kBlock_bytes);
  for (auto& each : data) each = static_cast<std::byte>(random() % 4);
  return data;
}

// As another client stored it, without our checksums: none but the decoder can tell.
Answer answer_of(std::span<const std::byte> body, const ObjectAttributes& attributes) {
  testing::AnswerHeaders headers{{"ETag", "\"e\""}};
  if (!attributes.content_encoding.empty()) {
    headers.emplace_back("Content-Encoding", attributes.content_encoding);
  }
  for (const auto& [name, value] : attributes.metadata) {
    headers.emplace_back("x-amz-meta-" + name, value);
  }
  return answer(200, {reinterpret_cast<const char*>(body.data()), body.size()}, headers);
}

class TornObjectTest : public testing::HttpStoreFixture,
                       public ::testing::WithParamInterface<Layouts> {
 protected:
  // What the service may show while `old_block` is replaced by `new_block`.
  [[nodiscard]] std::vector<Answer> torn_answers() const {
    const EncodedBlock older = format_->encode(kBlock, old_block_);
    const EncodedBlock newer = format_->encode(kBlock, new_block_);
    const std::size_t half = newer.body.size() / 2;
    std::vector<Answer> answers{answer_of({}, newer.attributes),
                                answer_of(newer.body.first(half), newer.attributes),
                                answer_of(newer.body.first(half), older.attributes)};
    if (GetParam() == Layouts::plain) return answers;
    Bytes mixed(newer.body.begin(), newer.body.end());
    const std::size_t same = std::min(half, older.body.size());
    std::copy_n(older.body.begin(), same, mixed.begin());
    answers.push_back(answer_of(mixed, newer.attributes));
    if (!newer.attributes.content_encoding.empty()) {
      answers.push_back(answer_of(newer.body, {}));  // the metadata are to follow
    }
    if (GetParam() == Layouts::s3backer_encrypted) {
      answers.push_back(answer_of(newer.body, older.attributes));
    }
    return answers;
  }
  [[nodiscard]] Answer sound_answer() const {
    const EncodedBlock newer = format_->encode(kBlock, new_block_);
    return answer_of(newer.body, newer.attributes);
  }

  const std::unique_ptr<const BlockFormat> format_ = format_of(GetParam());
  const Bytes old_block_ = block_of(1);
  const Bytes new_block_ = block_of(2);
  Bytes data_ = Bytes(kBlock_bytes);
};

TEST_P(TornObjectTest, IsReadAgain) {
  BlockObjects objects(store(), *format_, kBlock_bytes);
  const std::size_t kinds = torn_answers().size();
  for (std::size_t kind = 0; kind < kinds; ++kind) {
    server.then(torn_answers()[kind]);
    server.then(sound_answer());
    EXPECT_EQ(errno_of([&] { EXPECT_TRUE(objects.get(kBlock, data_)); }), 0)
        << "kind " << kind << ": " << message;
    EXPECT_EQ(data_, new_block_) << "kind " << kind;
    EXPECT_EQ(server.requests().size(), 2 * (kind + 1));
  }
}

TEST_P(TornObjectTest, IsAnErrorWhereItStaysLikeThat) {
  BlockObjects objects(store(), *format_, kBlock_bytes);
  for (unsigned i = 0; i < kDamagedAttempts_max; ++i) server.then(torn_answers()[1]);
  EXPECT_EQ(errno_of([&] { objects.get(kBlock, data_); }), EIO);
  EXPECT_NE(message.find("v/"), std::string::npos) << message;
  EXPECT_EQ(server.requests().size(), kDamagedAttempts_max);
}

TEST_P(TornObjectTest, MayBeGoneWhenItIsReadAgain) {
  BlockObjects objects(store(), *format_, kBlock_bytes);
  server.then(torn_answers()[1]);
  server.then(error_answer(404, "NoSuchKey"));
  EXPECT_FALSE(objects.get(kBlock, data_));
}

INSTANTIATE_TEST_SUITE_P(EachLayout, TornObjectTest,
                         ::testing::Values(Layouts::plain, Layouts::compressed, Layouts::encrypted,
                                           Layouts::s3backer, Layouts::s3backer_encrypted));

using TornPartTest = testing::HttpStoreFixture;

TEST_F(TornPartTest, OfAnObjectThatIsCutIsReadAgain) {
  constexpr std::size_t kObject_bytes = 1U << 20U;
  std::array<std::byte, 4> part{};
  const std::string first_piece(1U << 16U, 'x');  // parts are widened to pieces
  server.then(error_answer(416, "InvalidRange"));
  server.then(answer(206, first_piece, {{"Content-Range", "bytes 0-65535/70000"}}));
  server.then(answer(206, first_piece, {{"Content-Range", "bytes 0-65535/1048576"}}));
  const ObjectPart where{.offset = 8, .object_bytes = kObject_bytes};
  EXPECT_EQ(errno_of([&] { EXPECT_TRUE(store().get_range("k", part, where)); }), 0) << message;
  EXPECT_EQ(part[0], std::byte{'x'});
  EXPECT_EQ(server.requests().size(), 3U);
}

}  // namespace
}  // namespace nbdstack
