// Base64 (RFC 4648, with padding), by OpenSSL.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

std::string to_base64(std::span<const std::byte> bytes);

// Returns nothing if the text is not exactly the result of to_base64() for some bytes.
std::optional<std::vector<std::byte>> from_base64(std::string_view text);

}  // namespace nbdstack
