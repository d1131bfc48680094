// The blocks of an s3backer volume, byte for byte as s3backer 1.5 to 2.1 writes them.
//
//   body              encrypt(compress(block)), each where it is set
//   Content-Type      application/x-s3backer-block
//   Content-Encoding  nothing | deflate | zstd | encrypt-CIPHER | deflate, encrypt-CIPHER |
//                     zstd, encrypt-CIPHER
//   metadata          s3backer-blocksize, s3backer-filesize   block 0 only, at every PUT of it
//                     s3backer-hmac: "<40 hex digits>"        encrypted ones; with the quotes
//
// A block of zeros has no object. A block that does not shrink is stored compressed all the same:
// so does s3backer.
//
// Reading. Compression need not be what is set: a volume may mix codings block by block, and each
// object says its own. Encryption must be: with a cipher set, an object that is not encrypted is
// an error, and the reverse, so that nobody who can write to the store slips a plain block under an
// encrypted volume. Codings are read from right to left, in either case, with or without blanks;
// one that is unknown is an error that names it. The signature is checked before anything else is
// done with a body.
//
// A service may drop the Content-Encoding that came with an object. What is to stand for it then can
// be given, as s3backer's --defaultContentEncoding.
//
// s3backer keeps no more than 31 characters of a Content-Encoding, blanks not counted: what it
// writes with deflate under CAMELLIA it cannot read again. Here it can be read.
//
// What comes out of zlib and libzstd depends on their versions, so that two programs may store the
// same block as different bytes; all else is determined by the block.
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
  std::unique_ptr<const S3backerCipher> cipher;  // null: not encrypted
  std::string default_encoding{};                // of objects that come without one
};

// The Content-Encoding by which an object was written.
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

  // Never, since any object may be compressed whatever is set: ask is_stored_plain() of each.
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
