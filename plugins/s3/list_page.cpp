#include "plugins/s3/list_page.hpp"

#include <fmt/core.h>

#include "plugins/s3/credential_document.hpp"

namespace nbdstack {

std::optional<std::string> fault_of_key(const std::string& key, const AskedKeys& asked) {
  if (!key.starts_with(asked.prefix)) {
    return fmt::format("{} was listed, which does not begin with {}", quotable(key),
                       quotable(asked.prefix));
  }
  if (key <= asked.after) {
    return fmt::format(
        "the keys are not in order: {} was listed where what follows {} was asked "
        "for",
        quotable(key), quotable(asked.after));
  }
  return std::nullopt;
}

std::optional<std::string> fault_of_page(const ListPage& page, const AskedKeys& asked) {
  if (page.prefix.has_value() && !page.prefix->empty() && *page.prefix != asked.prefix &&
      page.prefix_as_sent != asked.prefix) {
    return fmt::format("keys that begin with {} were asked for, and those with {} listed",
                       quotable(asked.prefix), quotable(*page.prefix));
  }
  const std::size_t listed = page.objects.size() + page.common_prefixes;
  if (page.key_count.value_or(listed) != listed) {
    return fmt::format("{} keys are announced, and {} listed", *page.key_count, listed);
  }
  if (page.truncated && page.next_token.empty()) {
    return "more keys are announced, but not how to ask for them";
  }
  AskedKeys next = asked;
  for (const ListedObject& object : page.objects) {
    if (auto fault = fault_of_key(object.key, next)) return fault;
    next.after = object.key;
  }
  return std::nullopt;
}

}  // namespace nbdstack
