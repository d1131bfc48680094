// Whole blocks, compressed and back.
//
//   name      what comes out                      library
//   none      the block itself
//   deflate   one zlib stream (RFC 1950)          zlib
//   zstd      zstd frames (RFC 8878)              libzstd
//
// Decompression is bounded: not a byte is written beyond the block, and memory does not depend on
// what the stream claims. Each thread that comes here keeps contexts of its own until it ends: for
// decompression some ten kilobytes (deflate) and some hundred (zstd), for zstd's compression some
// hundred kilobytes up to megabytes, by the block's size and the level. Every function may be
// called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nbdstack {

enum class Compression : std::uint8_t { none, deflate, zstd };

// "none", "deflate", "zstd"; only these, in lower case, are parsed.
std::string_view to_string(Compression method);
std::optional<Compression> parse_compression(std::string_view name);

// 0, the library's default, is valid for every method; besides: deflate 1 ... 9, zstd what its
// library has (negative ones too, which are faster still).
bool is_valid_level(Compression method, int level);

// The most bytes that compress() makes of a block of `size_bytes`.
std::size_t compressed_bytes_max(Compression method, std::size_t size_bytes);

// `level` is valid. The result may be longer than `data`. The same library makes the same bytes of
// the same data each time; another version of it may not.
std::vector<std::byte> compress(Compression method, int level, std::span<const std::byte> data);

// Exactly data.size() bytes, and there is at least one, must come out of the whole of `body`.
// Otherwise throws Error(EIO) with the reason, to which the caller adds the object's name; `data`
// is unspecified then.
void decompress(Compression method, std::span<const std::byte> body, std::span<std::byte> data);

}  // namespace nbdstack
