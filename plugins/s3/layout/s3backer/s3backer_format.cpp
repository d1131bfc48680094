#include "plugins/s3/layout/s3backer/s3backer_format.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "common/error.hpp"
#include "common/hash/digest.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kContentType = "application/x-s3backer-block";
constexpr std::string_view kEncryptedBy = "encrypt-";
constexpr std::string_view kHmacName = "s3backer-hmac";
constexpr std::string_view kBlanks = " \t\v\f\r\n";

char lower_case(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = lower_case(c);
  return lower;
}

// Returns the codings in the order they were applied, without empty items, which HTTP ignores.
std::vector<std::string_view> split_codings(std::string_view header) {
  const std::string separators = std::string(kBlanks) + ",";
  std::vector<std::string_view> codings;
  while (true) {
    const std::size_t first = header.find_first_not_of(separators);
    if (first == std::string_view::npos) return codings;
    header.remove_prefix(first);
    const std::size_t length = std::min(header.find_first_of(separators), header.size());
    codings.push_back(header.substr(0, length));
    header.remove_prefix(length);
  }
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = lower_case(c);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return std::nullopt;
}

// Parses "<40 hex digits>", with or without the quotes: a store may have taken them for HTTP's own.
std::optional<S3backerCipher::Hmac> parse_hmac(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  S3backerCipher::Hmac hmac{};
  if (text.size() != 2 * hmac.size()) return std::nullopt;
  for (std::size_t i = 0; i < hmac.size(); ++i) {
    const auto high = hex_digit(text[2 * i]);
    const auto low = hex_digit(text[2 * i + 1]);
    if (!high.has_value() || !low.has_value()) return std::nullopt;
    hmac[i] = static_cast<std::byte>(*high << 4U | *low);
  }
  return hmac;
}

Error unknown_coding(std::string_view coding, std::string_view header) {
  return {EIO, fmt::format("its Content-Encoding \"{}\" has \"{}\", which no version of s3backer "
                           "writes there",
                           header, coding)};
}

}  // namespace

S3backerFormat::S3backerFormat(S3backerNames names, const BlockGeometry& geometry,
                               S3backerCoding coding)
    : names_(std::move(names)), geometry_(geometry), coding_(std::move(coding)) {}

std::string S3backerFormat::name_of(BlockNumber block) const {
  return names_.block(block);
}

std::optional<BlockNumber> S3backerFormat::parse_name(std::string_view name) const {
  return names_.parse_block(name);
}

std::size_t S3backerFormat::overhead_bytes() const {
  const std::size_t block_bytes = geometry_.block_size();
  // This holds whatever is set, since objects may be coded otherwise, and so that an object that is
  // needlessly encrypted is refused for that and not for its length.
  return std::max(compressed_bytes_max(Compression::deflate, block_bytes),
                  compressed_bytes_max(Compression::zstd, block_bytes)) -
         block_bytes + S3backerCipher::kPadding_bytes_max;
}

ObjectAttributes S3backerFormat::attributes_of(BlockNumber block) const {
  ObjectAttributes attributes;
  attributes.content_type = kContentType;
  if (coding_.compression != Compression::none) {
    attributes.content_encoding = to_string(coding_.compression);
  }
  if (coding_.cipher != nullptr) {
    if (!attributes.content_encoding.empty()) attributes.content_encoding += ", ";
    attributes.content_encoding += std::string(kEncryptedBy) + coding_.cipher->name();
  }
  if (block == BlockNumber{0}) {
    attributes.metadata = {{"s3backer-blocksize", std::to_string(geometry_.block_size())},
                           {"s3backer-filesize", std::to_string(geometry_.size_bytes())}};
  }
  return attributes;
}

EncodedBlock S3backerFormat::encode(BlockNumber block, std::span<const std::byte> data) const {
  EncodedBlock encoded{.body = data, .storage = {}, .attributes = attributes_of(block)};
  encoded.with_checksum = false;
  if (coding_.compression != Compression::none) {
    encoded.storage = compress(coding_.compression, coding_.level, data);
    encoded.body = encoded.storage;
  }
  if (coding_.cipher != nullptr) {
    encoded.storage = coding_.cipher->encrypt(block, encoded.body);
    encoded.body = encoded.storage;
    encoded.attributes.metadata.emplace_back(
        kHmacName, fmt::format("\"{}\"", to_hex(coding_.cipher->hmac(block, encoded.body))));
  }
  return encoded;
}

bool S3backerFormat::is_stored_plain(const ObjectInfo& object) const {
  return coding_.cipher == nullptr && object.size_bytes == geometry_.block_size() &&
         split_codings(encoding_of(object.attributes, coding_.default_encoding)).empty();
}

void S3backerFormat::decode(BlockNumber block, std::span<const std::byte> body,
                            const ObjectAttributes& attributes, std::span<std::byte> data) const {
  try {
    decode_codings(block, body, attributes, data);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", names_.block(block), error.what()))
        .about(block.value);
  }
}

void S3backerFormat::decode_codings(BlockNumber block, std::span<const std::byte> body,
                                    const ObjectAttributes& attributes,
                                    std::span<std::byte> data) const {
  const std::string& header = encoding_of(attributes, coding_.default_encoding);
  std::vector<std::string_view> codings = split_codings(header);
  std::vector<std::byte> decrypted;
  const bool is_encrypted =
      !codings.empty() && lower_case(codings.back()).starts_with(kEncryptedBy);
  if (is_encrypted) {
    const std::string_view cipher = codings.back().substr(kEncryptedBy.size());
    codings.pop_back();
    if (coding_.cipher == nullptr) {
      throw Error(EIO, fmt::format("it is encrypted with {}, but no cipher was given", cipher));
    }
    if (!coding_.cipher->is_called(cipher)) {
      throw Error(EIO, fmt::format("it is encrypted with {}, but {} was given", cipher,
                                   coding_.cipher->name()));
    }
    check_signature(block, body, attributes);
    decrypted = coding_.cipher->decrypt(block, body);
    body = decrypted;
  } else if (coding_.cipher != nullptr) {
    throw Error(EIO,
                fmt::format("it is not encrypted (Content-Encoding \"{}\"), but the volume is, "
                            "with {}",
                            header, coding_.cipher->name()));
  }

  Compression compression = Compression::none;
  if (!codings.empty()) {
    const auto parsed = parse_compression(lower_case(codings.back()));
    if (!parsed.has_value() || *parsed == Compression::none) {
      throw unknown_coding(codings.back(), header);
    }
    compression = *parsed;
    codings.pop_back();
  }
  if (!codings.empty()) throw unknown_coding(codings.back(), header);
  decompress(compression, body, data);
}

void S3backerFormat::check_signature(BlockNumber block, std::span<const std::byte> body,
                                     const ObjectAttributes& attributes) const {
  const auto text = attributes.metadata_of(kHmacName);
  if (!text.has_value()) {
    throw Error(EIO, fmt::format("it is encrypted, but carries no metadata {}", kHmacName));
  }
  const auto hmac = parse_hmac(*text);
  if (!hmac.has_value()) {
    throw Error(EIO, fmt::format("its metadata {} is {}, which is no signature", kHmacName, *text));
  }
  if (!coding_.cipher->is_authentic(block, body, *hmac)) {
    throw Error(
        EIO,
        "its signature is wrong: it was encrypted with another password, for another bucket "
        "or prefix, or it is another block's, or damaged");
  }
}

}  // namespace nbdstack
