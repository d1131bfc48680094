// The properties that a store keeps with an object besides its body.
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
  std::string content_type;      // the store's default if empty
  std::string content_encoding;  // none if empty
  // User metadata: the names in lower case and without S3's "x-amz-meta-".
  std::vector<std::pair<std::string, std::string>> metadata;

  [[nodiscard]] std::optional<std::string> metadata_of(std::string_view name) const {
    for (const auto& [each, value] : metadata) {
      if (each == name) return value;
    }
    return std::nullopt;
  }
};

// The part of an object that its checksums can verify.
enum class ChecksumKind : std::uint8_t {
  none,    // there is none
  whole,   // the whole object
  pieces,  // any part of it
};

struct ObjectInfo {
  std::uint64_t size_bytes = 0;
  std::string etag;  // opaque, quotes included; empty if the store returns none
  // The object's age by the store's own clock, or nothing if the store does not report it.
  std::optional<std::chrono::seconds> age;
  ObjectAttributes attributes;
  ChecksumKind checksum = ChecksumKind::none;
  std::string whole_checksum{};  // XXH3-128 of the stored body in hex; empty if unknown
};

}  // namespace nbdstack
