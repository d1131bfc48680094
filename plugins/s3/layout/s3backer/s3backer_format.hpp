// The blocks of an s3backer volume, byte for byte as s3backer 1.5 to 2.1 writes them.
//
//   body              encrypt(compress(block)), each if it is set
//   Content-Type      application/x-s3backer-block
//   Content-Encoding  nothing | deflate | zstd | encrypt-CIPHER | deflate, encrypt-CIPHER |
//                     zstd, encrypt-CIPHER
//   metadata          s3backer-blocksize, s3backer-filesize   block 0 only, at every PUT of it
//                     s3backer-hmac: "<40 hex digits>"        encrypted ones; with the quotes
//
// A block of zeros has no object. A block that does not shrink is stored compressed anyway, as
// s3backer does.
//
// Reading. The compression may differ from the setting: a volume may mix codings block by block,
// and each object names its own. The encryption must match it: with a cipher set, an unencrypted
// object is an error, and the reverse, so that a writer to the store cannot slip a plain block into
// an encrypted volume. Codings are read from right to left, in either case, with or without blanks;
// an unknown one is an error that names it. The signature is checked before the body is used.
//
// A service may drop the Content-Encoding that came with an object. A substitute for it can be set,
// like s3backer's --defaultContentEncoding.
//
// s3backer keeps at most 31 characters of a Content-Encoding, not counting blanks: it cannot read
// its own blocks with deflate under CAMELLIA again. This program can.
//
// The output of zlib and libzstd depends on their versions, so two programs may store the same
// block as different bytes; everything else is determined by the block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/block/range.hpp"
#include "plugins/s3/blocks/block_format.hpp"
#include "plugins/s3/layout/coding/compression.hpp"
#include "plugins/s3/layout/s3backer/s3backer_cipher.hpp"
#include "plugins/s3/layout/s3backer/s3backer_names.hpp"

namespace nbdstack {

struct S3backerCoding {
  Compression compression = Compression::none;
  int level = 0;                                 // valid for `compression`
  std::unique_ptr<const S3backerCipher> cipher;  // null if not encrypted
  std::string default_encoding{};                // of objects that come without one
};

// The Content-Encoding of an object, parsed.
inline const std::string& encoding_of(const ObjectAttributes& attributes,
                                      const std::string& default_encoding) {
  return attributes.content_encoding.empty() ? default_encoding : attributes.content_encoding;
}

class S3backerFormat final : public BlockFormat {
 public:
  // `geometry` comes from s3backer_geometry().
  S3backerFormat(S3backerNames names, const BlockGeometry& geometry, S3backerCoding coding);

  [[nodiscard]] const std::string& prefix() const override { return names_.prefix(); }
  [[nodiscard]] std::string name_of(BlockNumber block) const override;
  [[nodiscard]] std::optional<BlockNumber> parse_name(std::string_view name) const override;
  [[nodiscard]] bool names_are_ordered() const override { return !names_.with_hash(); }

  // Returns false, since any object may be compressed: is_stored_plain() decides for each.
  [[nodiscard]] bool is_plain() const override { return false; }
  [[nodiscard]] std::size_t overhead_bytes() const override;
  [[nodiscard]] bool removes_zeros() const override { return true; }

  [[nodiscard]] EncodedBlock encode(BlockNumber block,
                                    std::span<const std::byte> data) const override;
  [[nodiscard]] bool is_stored_plain(const ObjectInfo& object) const override;
  void decode(BlockNumber block, std::span<const std::byte> body,
              const ObjectAttributes& attributes, std::span<std::byte> data) const override;

 private:
  [[nodiscard]] ObjectAttributes attributes_of(BlockNumber block) const;
  void decode_codings(BlockNumber block, std::span<const std::byte> body,
                      const ObjectAttributes& attributes, std::span<std::byte> data) const;
  void check_signature(BlockNumber block, std::span<const std::byte> body,
                       const ObjectAttributes& attributes) const;

  S3backerNames names_;
  BlockGeometry geometry_;
  S3backerCoding coding_;
};

}  // namespace nbdstack
