// Compresses and decompresses whole blocks.
//
//   name      result                              library
//   none      the block itself
//   deflate   one zlib stream (RFC 1950)          zlib
//   zstd      zstd frames (RFC 8878)              libzstd
//
// Decompression is bounded: no byte is written beyond the block, and memory does not depend on what
// the stream claims. Each calling thread keeps contexts of its own until it ends: for decompression
// about ten kilobytes (deflate) or a hundred (zstd), for zstd's compression hundreds of kilobytes
// up to megabytes, by the block's size and the level. Any thread may call any function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nbdstack {

enum class Compression : std::uint8_t { none, deflate, zstd };

// The names are "none", "deflate" and "zstd"; only these, in lower case, are parsed.
std::string_view to_string(Compression method);
std::optional<Compression> parse_compression(std::string_view name);

// Every method accepts 0, the library's default. Besides, deflate accepts 1 to 9, and zstd the
// range of its library (including negative levels, which are faster still).
bool is_valid_level(Compression method, int level);

// Returns the largest size of compress()'s result for a block of `size_bytes`.
std::size_t compressed_bytes_max(Compression method, std::size_t size_bytes);

// `level` is valid. The result may be longer than `data`. One version of the library always makes
// the same bytes of the same data; another version may not.
std::vector<std::byte> compress(Compression method, int level, std::span<const std::byte> data);

// The whole of `body` must decompress to exactly data.size() bytes, which is at least one.
// Otherwise throws Error(EIO) with the reason, to which the caller adds the object's name, and
// leaves `data` unspecified.
void decompress(Compression method, std::span<const std::byte> body, std::span<std::byte> data);

}  // namespace nbdstack
