// The objects of an s3backer volume: their codings and signatures (s3backer_format.hpp,
// s3backer_cipher.hpp, compression.hpp), names (s3backer_names.hpp), and what block 0 and the mount
// token say (s3backer_volume.hpp).
//
//   the input       is lines, an empty line, and a body. The first line is a Content-Encoding, each
//                   of the others "NAME: VALUE", metadata. The body is taken as it is and as what
//                   was encrypted, with the signature that belongs to it
//   any object      is refused, or decodes to a block
//   any block       comes back as it went in, in every coding
//   damaged         one byte of an encrypted one, and it is refused
//   any name        of a block is the name that this block has
//   any geometry    that is accepted is one that s3backer can have
#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/layout/s3backer/s3backer_format.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr std::uint32_t kBlock_bytes = 4096;
constexpr BlockNumber kBlock{3};
constexpr std::string_view kHmacName = "s3backer-hmac";
const S3backerCipherSettings kCipher{.cipher = "AES-128-CBC",
                                     .password = "password",
                                     .bucket = "b",
                                     .prefix = "p/",
                                     .key_bytes = {}};

S3backerFormat format(bool with_hash, Compression compression, bool encrypted) {
  return {S3backerNames("p/", with_hash),
          BlockGeometry(1U << 20U, kBlock_bytes),
          {.compression = compression,
           .level = 1,
           .cipher = encrypted ? std::make_unique<S3backerCipher>(kCipher) : nullptr}};
}

struct Object {
  ObjectAttributes attributes;
  std::vector<std::byte> body;
};

Object object_of(std::string_view input) {
  std::string_view head = take_until(input, "\n\n");
  Object object{.attributes = {}, .body = bytes_of(input)};
  object.attributes.content_encoding = take_until(head, "\n");
  while (!head.empty()) {
    std::string_view line = take_until(head, "\n");
    const std::string name(take_until(line, ": "));
    object.attributes.metadata.emplace_back(name, line);
  }
  return object;
}

// The same with its body encrypted and signed.
Object encrypted(const Object& plain) {
  static const S3backerCipher cipher(kCipher);
  Object object{.attributes = plain.attributes, .body = cipher.encrypt(kBlock, plain.body)};
  auto& metadata = object.attributes.metadata;
  metadata.insert(metadata.begin(),
                  {std::string(kHmacName), to_hex(cipher.hmac(kBlock, object.body))});
  return object;
}

std::optional<std::vector<std::byte>> decoded(const S3backerFormat& format, const Object& object) {
  std::vector<std::byte> block(kBlock_bytes);
  if (!succeeds([&] { format.decode(kBlock, object.body, object.attributes, block); })) {
    return std::nullopt;
  }
  return block;
}

void check_block(const S3backerFormat& format, std::span<const std::byte> block, bool is_encrypted,
                 std::uint64_t choice) {
  const EncodedBlock encoded = format.encode(kBlock, block);
  Object object{.attributes = encoded.attributes,
                .body = {encoded.body.begin(), encoded.body.end()}};
  must(decoded(format, object) == std::vector(block.begin(), block.end()),
       "a block comes back as it went in");
  if (!is_encrypted) return;
  with_damage(object.body, choice,
              [&] { must(!decoded(format, object), "a damaged object is refused"); });
}

void check_name(const S3backerFormat& format, std::string_view name) {
  const auto block = format.parse_name(name);
  must(!block.has_value() || format.name_of(*block) == name, "a block's name is its own");
}

void check_geometry(const ObjectAttributes& attributes, std::uint64_t choice) {
  S3backerFindings found{
      .block_0 = ObjectInfo{.size_bytes = 0, .etag = {}, .age = {}, .attributes = attributes},
      .last_block = BlockNumber{choice % 64}};
  const S3backerRequest request{
      .size_bytes = choice % 3 == 0 ? std::optional(choice >> 20U << 12U) : std::nullopt,
      .block_size = {},
      .force_size = choice % 5 == 0};
  const S3backerNames names("p/", false);
  const auto geometry = accepted([&] { return s3backer_geometry(found, request, names, "b/p/"); });
  if (!geometry.has_value()) return;
  must(std::has_single_bit(geometry->block_size()) &&
           geometry->block_size() >= kS3backerBlock_bytes_min &&
           geometry->block_size() <= kS3backerBlock_bytes_max,
       "a block size is one that s3backer has");
  must(geometry->size_bytes() % geometry->block_size() == 0 &&
           geometry->block_count() <= kS3backerBlocks_max &&
           found.last_block->value < geometry->block_count(),
       "all blocks lie within the volume");
}

void check_token(const ObjectAttributes& attributes, std::string_view body) {
  must(parse_s3backer_token(attributes) != 0, "a token that is there is one");
  const std::string words = describe_s3backer_token(body);
  must(std::all_of(words.begin(), words.end(), [](char c) { return c >= ' ' && c <= '~'; }),
       "a log can show whose token it is");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  using namespace nbdstack::fuzz;
  static const S3backerFormat plain = format(false, Compression::none, false);
  static const S3backerFormat zstd = format(true, Compression::zstd, false);
  static const S3backerFormat secret = format(true, Compression::deflate, true);

  const std::string text = text_of({data, size});
  const Object object = object_of(text);
  const Object hidden = encrypted(object);
  for (const Object* each : {&object, &hidden}) {
    decoded(plain, *each);
    decoded(secret, *each);
  }
  std::vector<std::byte> block(kBlock_bytes);
  std::copy_n(object.body.begin(), std::min(object.body.size(), block.size()), block.begin());
  const std::uint64_t choice = xxh3_64(object.body, 0);
  check_block(plain, block, false, choice);
  check_block(zstd, block, false, choice);
  check_block(secret, block, true, choice);
  for (const S3backerFormat* each : {&plain, &zstd}) check_name(*each, text);
  check_geometry(object.attributes, xxh3_64(std::as_bytes(std::span(text)), 1));
  check_token(object.attributes, text);
  return 0;
}
