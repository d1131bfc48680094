#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>

#include "common/crypto/secret_key.hpp"
#include "common/error.hpp"
#include "common/parse_number.hpp"
#include "common/utc_text.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kBlockSizeName = "s3backer-blocksize";
constexpr std::string_view kSizeName = "s3backer-filesize";
constexpr std::string_view kTokenName = "s3backer-mount-token";
constexpr std::uint64_t kWrap = std::uint64_t{1} << 32U;

template <typename Number>
std::optional<Number> number_in(const std::optional<std::string>& text, int base) {
  Number number = 0;
  if (!text.has_value() || !parse_number(*text, number, base) || number == 0) return std::nullopt;
  return number;
}

class Judge {
 public:
  Judge(const S3backerFindings& found, const S3backerRequest& request, const S3backerNames& names,
        std::string_view place)
      : found_(found),
        request_(request),
        names_(names),
        place_(place),
        recorded_(found.block_0.has_value() ? S3backerRecord::parse(found.block_0->attributes)
                                            : S3backerRecord()) {
    if (found.block_0.has_value() && !last_block_.has_value()) last_block_ = BlockNumber{0};
  }

  [[nodiscard]] BlockGeometry geometry() const {
    const std::uint32_t block_size = judge_block_size();
    const std::uint64_t size_bytes = judge_size(block_size);
    if (size_bytes == 0 || size_bytes % block_size != 0) {
      throw refusal("size={} is no multiple of the block size, {}, which an s3backer volume's is",
                    size_bytes, block_size);
    }
    if (size_bytes / block_size > kS3backerBlocks_max) {
      throw refusal(
          "size={} in blocks of {} bytes are more blocks than the {} that an s3backer "
          "volume can have: take a larger block size",
          size_bytes, block_size, kS3backerBlocks_max);
    }
    if (last_block_.has_value() && last_block_->value >= size_bytes / block_size) {
      throw refusal("size={} was given, but there is {}, which lies behind that", size_bytes,
                    names_.block(*last_block_));
    }
    return {size_bytes, block_size};
  }

 private:
  template <typename... Args>
  [[nodiscard]] Error refusal(fmt::format_string<Args...> format, Args&&... args) const {
    return {EINVAL, fmt::format("the s3backer volume in {}: ", place_) +
                        fmt::format(format, std::forward<Args>(args)...)};
  }

  [[nodiscard]] std::uint32_t judge_block_size() const {
    const std::optional<std::uint64_t>& recorded = recorded_.block_size;
    const std::optional<std::uint32_t>& given = request_.block_size;
    if (recorded.has_value() && given.has_value() && *recorded != *given) {
      throw refusal("a block size of {} was given, but {} records {}", *given, names_.block({0}),
                    *recorded);
    }
    if (!recorded.has_value() && !given.has_value() && last_block_.has_value()) {
      throw refusal("there is {}, but nothing records the block size: give it as object-size=",
                    names_.block(*last_block_));
    }
    const std::uint64_t block_size =
        recorded.value_or(given.value_or(kS3backerBlock_bytes_default));
    if (!std::has_single_bit(block_size) || block_size < kS3backerBlock_bytes_min ||
        block_size > kS3backerBlock_bytes_max) {
      throw refusal("its block size, {}, is no power of two from {} to {}", block_size,
                    kS3backerBlock_bytes_min, kS3backerBlock_bytes_max);
    }
    return static_cast<std::uint32_t>(block_size);
  }

  [[nodiscard]] std::uint64_t judge_size(std::uint32_t block_size) const {
    const std::optional<std::uint64_t>& recorded = recorded_.size_bytes;
    if (!request_.size_bytes.has_value()) {
      if (!recorded.has_value()) throw refusal("nothing records its size: give size=");
      if (lies_behind(*recorded, block_size)) {
        throw refusal(
            "{} records size {}, but there is {}, which lies behind that: give the size "
            "that is right, which may be the recorded one plus a multiple of 4 GiB",
            names_.block({0}), *recorded, names_.block(*last_block_));
      }
      return *recorded;
    }
    const std::uint64_t given = *request_.size_bytes;
    if (recorded.has_value() && !request_.force_size && !agrees(given, *recorded) &&
        !lies_behind(*recorded, block_size)) {
      throw refusal("size={} was given, but {} records {}", given, names_.block({0}), *recorded);
    }
    return given;
  }

  // Equal, or equal modulo 2^32 as version 1.6.0 recorded it.
  [[nodiscard]] static bool agrees(std::uint64_t given, std::uint64_t recorded) {
    return given == recorded || (recorded < kWrap && given % kWrap == recorded);
  }

  [[nodiscard]] bool lies_behind(std::uint64_t size_bytes, std::uint32_t block_size) const {
    return last_block_.has_value() && last_block_->value >= size_bytes / block_size;
  }

  const S3backerFindings& found_;
  const S3backerRequest& request_;
  const S3backerNames& names_;
  const std::string_view place_;
  const S3backerRecord recorded_;
  std::optional<BlockNumber> last_block_ = found_.last_block;
};

bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

}  // namespace

S3backerRecord S3backerRecord::parse(const ObjectAttributes& block_0) {
  return {.size_bytes = number_in<std::uint64_t>(block_0.metadata_of(kSizeName), 10),
          .block_size = number_in<std::uint64_t>(block_0.metadata_of(kBlockSizeName), 10)};
}

BlockGeometry s3backer_geometry(const S3backerFindings& found, const S3backerRequest& request,
                                const S3backerNames& names, std::string_view place) {
  return Judge(found, request, names, place).geometry();
}

std::string s3backer_token_identity(const ObjectAttributes& token) {
  return token.metadata_of(kTokenName).value_or("");
}

S3backerToken S3backerToken::make(std::string_view host, WallTime time) {
  S3backerToken token;
  do {
    std::array<std::byte, sizeof token.value> random{};
    fill_random(random);
    token.value = std::bit_cast<std::uint32_t>(random) & 0x7fffffffU;
  } while (token.value == 0 || token.value == kS3backerToken_shared);
  token.body = fmt::format("{}\n{}\n", host, basic_utc_text(time));
  token.attributes.content_type = "text/plain";
  token.attributes.metadata = {{std::string(kTokenName), fmt::format("{:08x}", token.value)}};
  return token;
}

std::uint32_t parse_s3backer_token(const ObjectAttributes& attributes) {
  return number_in<std::uint32_t>(attributes.metadata_of(kTokenName), 16).value_or(1);
}

std::string describe_s3backer_token(std::string_view body) {
  std::string text;
  for (const char c : body.substr(0, kS3backerToken_bytes_max)) {
    if (c == '\n') text += ", ";
    if (is_printable(c)) text += c;
  }
  while (text.ends_with(", ")) text.resize(text.size() - 2);
  return text.empty() ? "somebody who did not say who" : text;
}

}  // namespace nbdstack
