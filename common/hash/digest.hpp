// MD5, SHA-1 and SHA-256 digests, by OpenSSL.
//
// MD5 is here because S3 (Content-MD5) and s3backer (consistency of what is read back) are defined
// with it. It finds accidents, not attackers. SHA-1 is here because the AWS CLI names files by it.
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

// Lower case, two digits a byte.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace nbdstack
