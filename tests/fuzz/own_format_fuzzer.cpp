// The objects of a volume in nbdstack's own layout: their frames, compressed or sealed
// (own_format.hpp, object_frame.hpp, compression.hpp, block_sealer.hpp), and their names.
//
//   the input       is a body, as it is; then with its checksum put right; then what a body is
//                   sealed from, so that what lies behind the cipher is reached
//   any body        is refused, or decodes to a block of its length; what is refused leaves zeros
//   any block       comes back as it went in, plain, compressed, sealed, or both
//   damaged         one byte of a frame, and it is refused, or decodes to the same block
//   any name        of a block is the name that this block has
#include <algorithm>
#include <array>

#include "common/block/zeros.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/layout/own/own_format.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr std::uint32_t kObject_bytes = 4096;
constexpr BlockNumber kBlock{3};

SecretKey key_of_tests() {
  SecretKey key;
  std::fill(key.buffer().begin(), key.buffer().end(), std::byte{7});
  return key;
}

OwnFormat format(Compression compression, bool sealed) {
  return OwnFormat({.key = "k",
                    .object_size = kObject_bytes,
                    .volume_id = "v",
                    .compression = compression,
                    .level = 1,
                    .framed = true,
                    .volume_key = sealed ? std::optional(key_of_tests()) : std::nullopt});
}

// Nothing: refused.
std::optional<std::vector<std::byte>> decoded(const OwnFormat& format,
                                              std::span<const std::byte> body) {
  std::vector<std::byte> block(kObject_bytes, std::byte{0xee});
  if (succeeds([&] { format.decode(kBlock, body, {}, block); })) return block;
  must(is_zero(block), "a body that is refused leaves nothing behind");
  return std::nullopt;
}

std::vector<std::byte> with_checksum(std::vector<std::byte> body) {
  const auto checksum = xxh3_128(body);
  body.insert(body.end(), checksum.begin(), checksum.end());
  return body;
}

// The header of the input, if it has one, and what follows it sealed beside that.
std::vector<std::byte> sealed(std::span<const std::byte> input) {
  const auto header = input.first(std::min(input.size(), kFrameHeader_bytes));
  const auto text = input.subspan(header.size());
  std::vector<std::byte> body(header.begin(), header.end());
  body.resize(header.size() + text.size() + kSealing_bytes);
  BlockSealer(key_of_tests(), "v")
      .seal(kBlock, header, text, std::span(body).subspan(header.size()));
  return body;
}

void check_block(const OwnFormat& format, std::span<const std::byte> block, std::uint64_t choice) {
  const EncodedBlock encoded = format.encode(kBlock, block);
  const std::vector<std::byte> expected(block.begin(), block.end());
  std::vector<std::byte> body(encoded.body.begin(), encoded.body.end());
  must(decoded(format, body) == expected, "a block comes back as it went in");
  if (!is_frame(body) || body.size() == block.size()) return;  // its checksum is the store's affair
  with_damage(body, choice, [&] {
    const auto found = decoded(format, body);
    must(!found.has_value() || *found == expected, "a damaged frame is no other block");
  });
}

void check_name(const OwnFormat& format, std::string_view name) {
  const auto block = format.parse_name(name);
  must(!block.has_value() || format.name_of(*block) == name, "a block's name is its own");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  using namespace nbdstack::fuzz;
  static const OwnFormat plain({.key = "k", .object_size = kObject_bytes});
  static const OwnFormat framed = format(Compression::zstd, false);
  static const OwnFormat deflated = format(Compression::deflate, false);
  static const OwnFormat secret = format(Compression::none, true);
  static const OwnFormat secret_zstd = format(Compression::zstd, true);

  const auto input = std::as_bytes(std::span(data, size));
  const std::vector<std::byte> summed = with_checksum({input.begin(), input.end()});
  const std::vector<std::byte> hidden = sealed(input);
  for (const std::span<const std::byte> body : {input, std::span(summed), std::span(hidden)}) {
    for (const OwnFormat* each : {&plain, &framed, &secret}) decoded(*each, body);
  }
  std::vector<std::byte> block(kObject_bytes);
  std::copy_n(input.begin(), std::min(input.size(), block.size()), block.begin());
  const std::uint64_t choice = xxh3_64(input, 0);
  // One of them at a time, which is time enough for the others.
  const std::array<const OwnFormat*, 4> formats{&framed, &deflated, &secret, &secret_zstd};
  check_block(*formats[choice % formats.size()], block, choice / formats.size());
  check_name(plain, text_of({data, size}));
  return 0;
}
