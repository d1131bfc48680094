// The user's settings for a volume, and the layout found for them: all that is needed to serve it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "plugins/s3/layout/stored_descriptor.hpp"

namespace nbdstack {

inline constexpr std::uint32_t kObjectSize_bytes_default = 1024 * 1024;

enum class Layout : std::uint8_t {
  automatic,  // whatever is found; a new volume is one of our own
  own,        // own_format.hpp, and nbdkit's S3 plugin's
  s3backer,   // s3backer_format.hpp
};

struct VolumeRequest {
  std::string bucket;  // without the part after a slash
  std::string key;     // normalised by normalised_key(); empty if there is none
  // The key as it was given, if that differs (resolve_key() in volume_open.hpp).
  std::string key_as_given{};
  std::optional<std::uint64_t> size_bytes{};
  std::optional<std::uint32_t> object_size{};
  Layout layout = Layout::automatic;
  bool readonly = false;  // nothing in the store is changed
  bool images = true;     // if there is no volume, the object KEY may be one

  // The coding of new blocks.
  std::optional<Compression> compression{};
  int compression_level = 0;
  std::string cipher{};  // "aes-256-gcm" in a volume of our own; empty if not given
  std::optional<std::string> passphrase{};

  // For s3backer's volumes only.
  std::optional<std::string> prefix{};  // verbatim; "KEY/" if not given
  bool hash_prefix = false;
  std::optional<std::size_t> key_length_bytes{};
  std::string default_content_encoding{};  // of objects whose answers have none
  bool force_size = false;
};

enum class VolumeKind : std::uint8_t {
  blocks,  // blocks as objects, read and written by Volume
  image,   // the object KEY, read by ObjectImage
};

struct VolumeLayout {
  VolumeKind kind = VolumeKind::blocks;
  Layout layout = Layout::own;
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;
  std::string place;                          // bucket and key, for messages
  std::string id{};                           // from the descriptor; empty if it has none
  std::shared_ptr<const BlockFormat> format;  // of blocks
  std::string mount_token;                    // the name of s3backer's token object
  std::string image_etag{};                   // of the image's object as it was found
  bool is_new = false;                        // this opening created it, in an empty place

  // The change of the descriptor that is required before blocks are written as requested.
  struct DescriptorChange {
    StoredDescriptor read;
    VolumeDescriptor changed;
  };
  std::optional<DescriptorChange> descriptor_change;
};

}  // namespace nbdstack
