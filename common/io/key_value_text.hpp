// Lines of text "key=value": what a file or directory says of itself, for programs and people.
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

// Nothing where the text is not of such lines alone, each with its end.
std::optional<KeyValues> parse_key_value_text(std::string_view text);

// 32 hexadecimal digits that nobody else has.
std::string random_uuid();

}  // namespace nbdstack
