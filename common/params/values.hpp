// Reads values of parameters in nbdkit's spellings (nbdkit-plugin(3)), in a server and in a command
// alike. tests/support/spellings.txt is tested against both nbdkit and these functions.
//
// Each parsing function throws an Error that names the parameter.
#pragma once

#include <cstdint>
#include <string>

namespace nbdstack {

// A number of bytes, with a suffix: b, k, m, g, t, p, e, or s for sectors of 512.
std::uint64_t parse_size(const std::string& name, const std::string& value);
// 65536 -> "64K".
std::string format_size(std::uint64_t size_bytes);

// The number may be in any base of C's.
unsigned parse_unsigned(const std::string& name, const std::string& value);

bool parse_bool(const std::string& name, const std::string& value);

// Seconds, possibly with a fraction ("0.5"), or a number with a suffix ms, s, m or h. (nbdkit has
// no such values.)
std::uint64_t parse_duration_ms(const std::string& name, const std::string& value);
std::string format_duration(std::uint64_t duration_ms);

std::string absolute_path(const std::string& name, const std::string& value);

}  // namespace nbdstack
