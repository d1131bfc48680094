// nbdstack's own layout: block n is the object KEY/%016x (object_names.hpp), in one of these forms.
//
//   volume       object                             is
//   unencrypted  exactly object_size bytes          the block, as in nbdkit's own S3 plugin
//                shorter, and a frame               the block, compressed (object_frame.hpp)
//   encrypted    a frame with AES-256-GCM,          the block, compressed first if that makes it
//                of any length                      shorter, and sealed for its place
//
// Everything else is an error that names the object. In an unencrypted volume a frame is always
// shorter than a block (one that would not be is stored plain), so the two cannot be confused. In
// an encrypted volume a plain object is refused: nobody can pass a block to a reader without the
// key. The first bytes of a block have no meaning in either.
//
// Each frame names its own method: the setting may change from one run to the next, and reading
// does not need it.
//
// Parts of objects: in a volume without a single frame, as its descriptor guarantees
// (volume_descriptor.hpp, `framed`), every object is plain and parts of it can be read: is_plain().
// In all others whole objects are read, even if nothing is compressed any more.
//
// block_sealer.hpp lists what encryption detects, and what it cannot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/layout/coding/block_sealer.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/own/object_frame.hpp"

namespace nbdstack {

struct OwnFormatSettings {
  std::string key;  // empty if there is none
  std::uint32_t object_size = 0;
  std::string volume_id;  // only an encrypted volume needs one
  // The coding of new objects.
  Compression compression = Compression::none;
  int level = 0;  // the method's default; valid for it (is_valid_level())
  // Objects may be frames: VolumeDescriptor::framed. It is false for a foreign volume.
  bool framed = false;
  std::optional<SecretKey> volume_key;  // makes the volume an encrypted one
};

class OwnFormat final : public BlockFormat {
 public:
  // Throws Error(EINVAL) if the settings compress or encrypt, but the volume is not `framed`: its
  // other readers would not expect it.
  explicit OwnFormat(OwnFormatSettings settings);

  [[nodiscard]] const std::string& prefix() const override { return prefix_; }
  [[nodiscard]] std::string name_of(BlockNumber block) const override {
    return names_.block(block);
  }
  [[nodiscard]] std::optional<BlockNumber> parse_name(std::string_view name) const override {
    return names_.parse_block(name);
  }
  [[nodiscard]] bool names_are_ordered() const override { return true; }

  [[nodiscard]] bool is_plain() const override { return !framed_; }
  [[nodiscard]] std::size_t overhead_bytes() const override;
  // Blocks of zeros are stored, as by nbdkit's own S3 plugin; the zeroblock filter removes them for
  // users who want that.
  [[nodiscard]] bool removes_zeros() const override { return false; }

  [[nodiscard]] EncodedBlock encode(BlockNumber block,
                                    std::span<const std::byte> data) const override;

  [[nodiscard]] bool is_stored_plain(const ObjectInfo& object) const override {
    return !sealer_.has_value() && object.size_bytes == object_size_;
  }
  // `attributes` are ignored. `data` contains only authentic bytes, even after a failure.
  void decode(BlockNumber block, std::span<const std::byte> body,
              const ObjectAttributes& attributes, std::span<std::byte> data) const override;

 private:
  [[nodiscard]] EncodedBlock frame(std::span<const std::byte> data) const;
  [[nodiscard]] EncodedBlock sealed_frame(BlockNumber block, std::span<const std::byte> data) const;
  void decode_object(BlockNumber block, std::span<const std::byte> body,
                     std::span<std::byte> data) const;
  void decode_frame(const FrameHeader& header, std::span<const std::byte> frame,
                    std::span<std::byte> data) const;
  void decode_sealed(BlockNumber block, const FrameHeader& header, std::span<const std::byte> frame,
                     std::span<std::byte> data) const;

  const std::string prefix_;
  const ObjectNames names_;
  const std::uint32_t object_size_;
  const Compression compression_;
  const int level_;
  const bool framed_;
  std::optional<BlockSealer> sealer_;
};

}  // namespace nbdstack
