// What a store keeps with an object besides its body.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nbdstack {

struct ObjectAttributes {
  std::string content_type;      // empty: the store's default
  std::string content_encoding;  // empty: none
  // User metadata: the names in lower case and without S3's "x-amz-meta-".
  std::vector<std::pair<std::string, std::string>> metadata;

  [[nodiscard]] std::optional<std::string> metadata_of(std::string_view name) const {
    for (const auto& [each, value] : metadata) {
      if (each == name) return value;
    }
    return std::nullopt;
  }
};

// What the checksums of an object can verify.
enum class ChecksumKind : std::uint8_t {
  none,    // it carries none
  whole,   // the whole object
  pieces,  // any part of it
};

struct ObjectInfo {
  std::uint64_t size_bytes = 0;
  std::string etag;  // opaque, quotes included; empty where the store gives none
  // How long ago it was stored, by the store's own clock; nothing where that is not told.
  std::optional<std::chrono::seconds> age;
  ObjectAttributes attributes;
  ChecksumKind checksum = ChecksumKind::none;
  std::string whole_checksum{};  // XXH3-128 of the body in hex, as it was stored; empty: not told
};

}  // namespace nbdstack
