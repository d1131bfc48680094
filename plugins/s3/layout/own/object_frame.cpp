#include "plugins/s3/layout/own/object_frame.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/io/big_endian.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFrameMagic = "NBDOBJ";
constexpr std::uint64_t kFrameVersion = 1;

// The places of the fields: {offset, bytes}.
struct Field {
  std::size_t offset;
  std::size_t bytes;
};
constexpr Field kVersionField{6, 1};
constexpr Field kLengthField{7, 1};
constexpr Field kCompressionField{8, 1};
constexpr Field kCipherField{9, 1};
constexpr Field kReservedField{10, 2};
constexpr Field kBlockField{12, 4};

// The numbers in the format, which stay the same however the types change.
constexpr std::pair<std::uint64_t, Compression> kCompressions[] = {
    {0, Compression::none}, {1, Compression::deflate}, {2, Compression::zstd}};
constexpr std::pair<std::uint64_t, Cipher> kCiphers[] = {{0, Cipher::none},
                                                         {1, Cipher::aes_256_gcm}};

template <typename Table, typename Value>
std::uint64_t number_of(const Table& table, Value value) {
  return std::find_if(std::begin(table), std::end(table),
                      [value](const auto& entry) { return entry.second == value; })
      ->first;
}

template <typename Table>
auto value_of(const Table& table, std::uint64_t number, const char* what) {
  const auto found = std::find_if(std::begin(table), std::end(table),
                                  [number](const auto& entry) { return entry.first == number; });
  if (found == std::end(table)) {
    throw Error(EIO, fmt::format("its {} {} is unknown to this version of nbdstack", what, number));
  }
  return found->second;
}

std::uint64_t read(std::span<const std::byte> frame, Field field) {
  return load_big_endian(frame.subspan(field.offset, field.bytes));
}

}  // namespace

std::array<std::byte, kFrameHeader_bytes> FrameHeader::to_bytes() const {
  std::array<std::byte, kFrameHeader_bytes> header{};
  const auto write = [&header](Field field, std::uint64_t value) {
    store_big_endian(value, std::span(header).subspan(field.offset, field.bytes));
  };
  const auto magic = std::as_bytes(std::span(kFrameMagic));
  std::copy(magic.begin(), magic.end(), header.begin());
  write(kVersionField, kFrameVersion);
  write(kLengthField, header.size());
  write(kCompressionField, number_of(kCompressions, compression));
  write(kCipherField, number_of(kCiphers, cipher));
  write(kBlockField, block_bytes);
  return header;
}

FrameHeader FrameHeader::parse(std::span<const std::byte> frame) {
  if (frame.size() <= kVersionField.offset) throw Error(EIO, "its header is cut off");
  const std::uint64_t version = read(frame, kVersionField);
  if (version != kFrameVersion) {
    throw Error(EIO, fmt::format("its format is of version {}, and version {} is the only one "
                                 "known",
                                 version, kFrameVersion));
  }
  if (frame.size() < kFrameHeader_bytes) throw Error(EIO, "its header is cut off");
  if (read(frame, kLengthField) != kFrameHeader_bytes || read(frame, kReservedField) != 0) {
    throw Error(EIO, "its header is damaged");
  }
  return {.compression = value_of(kCompressions, read(frame, kCompressionField), "compression"),
          .cipher = value_of(kCiphers, read(frame, kCipherField), "cipher"),
          .block_bytes = static_cast<std::uint32_t>(read(frame, kBlockField))};
}

bool is_frame(std::span<const std::byte> body) {
  const auto magic = std::as_bytes(std::span(kFrameMagic));
  return body.size() >= magic.size() && std::equal(magic.begin(), magic.end(), body.begin());
}

}  // namespace nbdstack
