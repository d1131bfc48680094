// MD5, SHA-1 and SHA-256 digests, by OpenSSL.
//
// S3 (Content-MD5) and s3backer (consistency of what is read back) are defined with MD5, and the
// AWS CLI names files by SHA-1. Both detect accidents, not attackers.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace nbdstack {

using Md5Digest = std::array<std::byte, 16>;
using Sha1Digest = std::array<std::byte, 20>;
using Sha256Digest = std::array<std::byte, 32>;

Md5Digest md5(std::span<const std::byte> data);
Sha1Digest sha1(std::span<const std::byte> data);
Sha256Digest sha256(std::span<const std::byte> data);

// Returns lower case, two digits a byte.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace nbdstack
