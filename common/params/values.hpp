// How values of parameters are spelled: as nbdkit reads them (nbdkit-plugin(3)), in a server and in a
// command alike. tests/support/spellings.txt holds both nbdkit and this to the same words.
//
// Each throws an Error that names the parameter.
#pragma once

#include <cstdint>
#include <string>

namespace nbdstack {

// A number of bytes, with a suffix: b, k, m, g, t, p, e, or s for sectors of 512.
std::uint64_t parse_size(const std::string& name, const std::string& value);
// 65536 -> "64K".
std::string format_size(std::uint64_t size_bytes);

// In any base of C's.
unsigned parse_unsigned(const std::string& name, const std::string& value);

bool parse_bool(const std::string& name, const std::string& value);

// Seconds, with a fraction if wanted ("0.5"), or a number with ms, s, m or h. (nbdkit has no such
// kind.)
std::uint64_t parse_duration_ms(const std::string& name, const std::string& value);
std::string format_duration(std::uint64_t duration_ms);

std::string absolute_path(const std::string& name, const std::string& value);

}  // namespace nbdstack
