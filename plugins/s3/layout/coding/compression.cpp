#include "plugins/s3/layout/coding/compression.hpp"

#include <fmt/core.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::array<std::pair<Compression, std::string_view>, 3> kNames{
    {{Compression::none, "none"}, {Compression::deflate, "deflate"}, {Compression::zstd, "zstd"}}};

Error damaged(Compression method, std::string_view reason) {
  return {EIO, fmt::format("the {} stream is damaged: {}", to_string(method), reason)};
}

Error ends_early(Compression method) {
  return {EIO, fmt::format("the {} stream ends early", to_string(method))};
}

Error wrong_length(Compression method, std::string_view length, std::size_t expected_bytes) {
  return {EIO, fmt::format("the {} stream decodes to {} bytes, but the block has {}",
                           to_string(method), length, expected_bytes)};
}

void store_copy(std::span<const std::byte> body, std::span<std::byte> data) {
  if (body.size() != data.size()) {
    throw Error(
        EIO, fmt::format("the body has {} bytes, but the block has {}", body.size(), data.size()));
  }
  std::copy(body.begin(), body.end(), data.begin());
}

std::vector<std::byte> deflate_block(int level, std::span<const std::byte> data) {
  std::vector<std::byte> body(compressBound(data.size()));
  uLongf length = body.size();
  const int result = compress2(reinterpret_cast<Bytef*>(body.data()), &length,
                               reinterpret_cast<const Bytef*>(data.data()), data.size(),
                               level == 0 ? Z_DEFAULT_COMPRESSION : level);
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  if (result != Z_OK) throw Error(EIO, fmt::format("zlib does not compress: error {}", result));
  body.resize(length);
  return body;
}

// zlib's state for decompression.
class Inflater {
 public:
  Inflater() {
    if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }

  void run(std::span<const std::byte> body, std::span<std::byte> data) {
    if (std::max(body.size(), data.size()) > std::numeric_limits<uInt>::max()) {
      throw damaged(Compression::deflate, "it is longer than 4 GiB");
    }
    inflateReset(&stream_);
    // zlib does not write to its input, but declares it const only if it is told to.
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(body.data()));
    stream_.avail_in = static_cast<uInt>(body.size());
    stream_.next_out = reinterpret_cast<Bytef*>(data.data());
    stream_.avail_out = static_cast<uInt>(data.size());
    judge(inflate(&stream_, Z_FINISH), data.size());
  }

 private:
  void judge(int result, std::size_t block_bytes) const {
    constexpr Compression kMethod = Compression::deflate;
    switch (result) {
      case Z_STREAM_END:
        if (stream_.avail_out != 0) {
          throw wrong_length(kMethod, std::to_string(block_bytes - stream_.avail_out), block_bytes);
        }
        if (stream_.avail_in != 0) {
          throw damaged(kMethod, fmt::format("{} bytes follow its end", stream_.avail_in));
        }
        return;
      case Z_OK:
      case Z_BUF_ERROR:
        if (stream_.avail_in == 0) throw ends_early(kMethod);
        throw wrong_length(kMethod, "more", block_bytes);
      case Z_NEED_DICT:
        throw damaged(kMethod, "it asks for a dictionary");
      case Z_MEM_ERROR:
        throw std::bad_alloc();
      default:
        throw damaged(kMethod, stream_.msg == nullptr ? "invalid data" : stream_.msg);
    }
  }

  z_stream stream_{};
};

struct ZstdFree {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

std::vector<std::byte> zstd_block(int level, std::span<const std::byte> data) {
  thread_local const std::unique_ptr<ZSTD_CCtx, ZstdFree> context(ZSTD_createCCtx());
  if (context == nullptr) throw std::bad_alloc();
  std::vector<std::byte> body(ZSTD_compressBound(data.size()));
  const std::size_t length =
      ZSTD_compressCCtx(context.get(), body.data(), body.size(), data.data(), data.size(), level);
  if (ZSTD_isError(length) != 0) {
    if (ZSTD_getErrorCode(length) == ZSTD_error_memory_allocation) throw std::bad_alloc();
    throw Error(EIO, fmt::format("zstd does not compress: {}", ZSTD_getErrorName(length)));
  }
  body.resize(length);
  return body;
}

// The format allows several frames in a row: together they are one stream.
void unzstd_block(std::span<const std::byte> body, std::span<std::byte> data) {
  constexpr Compression kMethod = Compression::zstd;
  thread_local const std::unique_ptr<ZSTD_DCtx, ZstdFree> context(ZSTD_createDCtx());
  if (context == nullptr) throw std::bad_alloc();
  const std::size_t length =
      ZSTD_decompressDCtx(context.get(), data.data(), data.size(), body.data(), body.size());
  if (ZSTD_isError(length) == 0) {
    if (length != data.size()) throw wrong_length(kMethod, std::to_string(length), data.size());
    return;
  }
  switch (ZSTD_getErrorCode(length)) {
    case ZSTD_error_memory_allocation:
      throw std::bad_alloc();
    case ZSTD_error_srcSize_wrong:
      // Also returned for an incomplete frame after the last one.
      throw damaged(kMethod, "it ends early, or something follows its end");
    case ZSTD_error_dstSize_tooSmall:
      throw wrong_length(kMethod, "more", data.size());
    default:
      throw damaged(kMethod, ZSTD_getErrorName(length));
  }
}

}  // namespace

std::string_view to_string(Compression method) {
  return kNames[static_cast<std::size_t>(method)].second;
}

std::optional<Compression> parse_compression(std::string_view name) {
  for (const auto& [method, its_name] : kNames) {
    if (its_name == name) return method;
  }
  return std::nullopt;
}

bool is_valid_level(Compression method, int level) {
  switch (method) {
    case Compression::none:
      return level == 0;
    case Compression::deflate:
      return level >= 0 && level <= Z_BEST_COMPRESSION;
    case Compression::zstd:
      return level >= ZSTD_minCLevel() && level <= ZSTD_maxCLevel();
  }
  return false;
}

std::size_t compressed_bytes_max(Compression method, std::size_t size_bytes) {
  switch (method) {
    case Compression::none:
      break;
    case Compression::deflate:
      return compressBound(size_bytes);
    case Compression::zstd:
      return ZSTD_compressBound(size_bytes);
  }
  return size_bytes;
}

std::vector<std::byte> compress(Compression method, int level, std::span<const std::byte> data) {
  switch (method) {
    case Compression::none:
      break;
    case Compression::deflate:
      return deflate_block(level, data);
    case Compression::zstd:
      return zstd_block(level, data);
  }
  return {data.begin(), data.end()};
}

void decompress(Compression method, std::span<const std::byte> body, std::span<std::byte> data) {
  switch (method) {
    case Compression::none:
      return store_copy(body, data);
    case Compression::deflate: {
      thread_local Inflater inflater;
      return inflater.run(body, data);
    }
    case Compression::zstd:
      return unzstd_block(body, data);
  }
}

}  // namespace nbdstack
