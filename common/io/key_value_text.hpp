// Lines of text "key=value": the description of a file or directory, for programs and people.
//
// Bytes of a value outside of printable ASCII, and '%', are written as %XX, so that any value stays
// on its line.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nbdstack {

using KeyValues = std::map<std::string, std::string, std::less<>>;

std::string to_key_value_text(const std::vector<std::pair<std::string, std::string>>& values);

// Returns nothing if the text contains anything but such lines, each with its end.
std::optional<KeyValues> parse_key_value_text(std::string_view text);

// Returns 32 hexadecimal digits that are unique.
std::string random_uuid();

}  // namespace nbdstack
