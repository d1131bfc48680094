#include "plugins/s3/layout/own/own_format.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kSealedFrame_bytes = kFrameHeader_bytes + kSealing_bytes;
constexpr std::size_t kPlainFrame_bytes = kFrameHeader_bytes + kFrameChecksum_bytes;

void copy(std::span<const std::byte> source, std::span<std::byte> target) {
  std::copy(source.begin(), source.end(), target.begin());
}

}  // namespace

OwnFormat::OwnFormat(OwnFormatSettings settings)
    : prefix_(settings.key.empty() ? "" : settings.key + "/"),
      names_(settings.key),
      object_size_(settings.object_size),
      compression_(settings.compression),
      level_(settings.level),
      framed_(settings.framed) {
  if (!framed_ && (compression_ != Compression::none || settings.volume_key.has_value())) {
    throw Error(EINVAL, fmt::format("compress, encrypt: the descriptor {} must say first that "
                                    "objects may be coded",
                                    names_.descriptor()));
  }
  if (settings.volume_key.has_value()) {
    sealer_.emplace(std::move(*settings.volume_key), std::move(settings.volume_id));
  }
}

std::size_t OwnFormat::overhead_bytes() const {
  return sealer_.has_value() ? kSealedFrame_bytes : 0;
}

EncodedBlock OwnFormat::encode(BlockNumber block, std::span<const std::byte> data) const {
  if (sealer_.has_value()) return sealed_frame(block, data);
  if (compression_ != Compression::none) {
    EncodedBlock encoded = frame(data);
    if (encoded.body.size() < data.size()) return encoded;
  }
  return {.body = data};
}

EncodedBlock OwnFormat::frame(std::span<const std::byte> data) const {
  const std::vector<std::byte> text = compress(compression_, level_, data);
  const FrameHeader header{.compression = compression_, .block_bytes = object_size_};
  EncodedBlock encoded;
  encoded.storage.resize(kPlainFrame_bytes + text.size());
  const std::span<std::byte> whole(encoded.storage);
  copy(header.to_bytes(), whole);
  copy(text, whole.subspan(kFrameHeader_bytes));
  copy(xxh3_128(whole.first(whole.size() - kFrameChecksum_bytes)),
       whole.last(kFrameChecksum_bytes));
  encoded.body = encoded.storage;
  return encoded;
}

EncodedBlock OwnFormat::sealed_frame(BlockNumber block, std::span<const std::byte> data) const {
  FrameHeader header{.cipher = Cipher::aes_256_gcm, .block_bytes = object_size_};
  std::vector<std::byte> compressed;
  std::span<const std::byte> text = data;
  if (compression_ != Compression::none) {
    compressed = compress(compression_, level_, data);
    if (compressed.size() < data.size()) {
      header.compression = compression_;
      text = compressed;
    }
  }
  EncodedBlock encoded;
  encoded.storage.resize(kSealedFrame_bytes + text.size());
  const std::span<std::byte> whole(encoded.storage);
  const auto header_bytes = header.to_bytes();
  copy(header_bytes, whole);
  sealer_->seal(block, header_bytes, text, whole.subspan(kFrameHeader_bytes));
  encoded.body = encoded.storage;
  return encoded;
}

void OwnFormat::decode(BlockNumber block, std::span<const std::byte> body,
                       const ObjectAttributes& /*attributes*/, std::span<std::byte> data) const {
  try {
    decode_object(block, body, data);
  } catch (const Error& error) {
    std::fill(data.begin(), data.end(), std::byte{0});
    throw Error(error.code(), fmt::format("{}: {}", name_of(block), error.what()))
        .about(block.value);
  }
}

void OwnFormat::decode_object(BlockNumber block, std::span<const std::byte> body,
                              std::span<std::byte> data) const {
  if (!sealer_.has_value() && body.size() == object_size_) {
    copy(body, data);
    return;
  }
  if (!is_frame(body)) {
    if (sealer_.has_value()) {
      throw Error(EIO,
                  "the object is not encrypted, but all of this volume must be: somebody "
                  "without its key has written it");
    }
    throw Error(EIO, fmt::format("the object is {} bytes long and not compressed, where a block "
                                 "has {}",
                                 body.size(), object_size_));
  }
  const FrameHeader header = FrameHeader::parse(body);
  if (header.block_bytes != object_size_) {
    throw Error(EIO, fmt::format("the object holds a block of {} bytes, where this volume's have "
                                 "{}",
                                 header.block_bytes, object_size_));
  }
  if (sealer_.has_value()) {
    decode_sealed(block, header, body, data);
  } else {
    decode_frame(header, body, data);
  }
}

void OwnFormat::decode_frame(const FrameHeader& header, std::span<const std::byte> frame,
                             std::span<std::byte> data) const {
  if (header.cipher != Cipher::none) {
    throw Error(EIO, "the object is encrypted, but this volume is not: it belongs to another one");
  }
  if (!framed_) {
    throw Error(EIO,
                "the object is compressed, but this volume was opened as one that has none "
                "such: open it again");
  }
  if (frame.size() < kPlainFrame_bytes) throw Error(EIO, "the object is cut off");
  const auto covered = frame.first(frame.size() - kFrameChecksum_bytes);
  const auto stored = frame.last(kFrameChecksum_bytes);
  const auto computed = xxh3_128(covered);
  if (!std::equal(computed.begin(), computed.end(), stored.begin())) {
    throw Error(EIO, "the object is corrupted: its checksum is not that of its contents");
  }
  decompress(header.compression, covered.subspan(kFrameHeader_bytes), data);
}

void OwnFormat::decode_sealed(BlockNumber block, const FrameHeader& header,
                              std::span<const std::byte> frame, std::span<std::byte> data) const {
  if (header.cipher == Cipher::none) {
    throw Error(EIO,
                "the object is compressed but not encrypted, and all of this volume must be: "
                "somebody without its key has written it");
  }
  if (frame.size() < kSealedFrame_bytes) throw Error(EIO, "the object is cut off");
  const auto sealed = frame.subspan(kFrameHeader_bytes);
  const std::size_t text_bytes = sealed.size() - kSealing_bytes;

  // An uncompressed block is decrypted into place.
  const bool direct = header.compression == Compression::none && text_bytes == data.size();
  std::vector<std::byte> storage(direct ? 0 : text_bytes);
  const std::span<std::byte> text = direct ? data : std::span(storage);
  if (!sealer_->unseal(block, frame.first(kFrameHeader_bytes), sealed, text)) {
    throw Error(EIO,
                "the object was not written with this volume's key for this block: it was "
                "changed, damaged, or put here from elsewhere");
  }
  if (!direct) decompress(header.compression, text, data);
}

}  // namespace nbdstack
