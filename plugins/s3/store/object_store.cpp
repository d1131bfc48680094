#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

std::optional<std::string> ObjectStore::get_text(const std::string& key, std::size_t size_limit) {
  std::string text(size_limit, '\0');
  const auto object = fetch(key, std::as_writable_bytes(std::span(text)));
  if (!object.has_value()) return std::nullopt;
  text.resize(object->size_bytes);
  return text;
}

void ObjectStore::remove(std::span<const std::string> keys) {
  std::vector<Removal> removals;
  removals.reserve(keys.size());
  for (const std::string& key : keys) removals.push_back({.key = key, .etag = {}});
  Doubt doubt;
  remove_matching(removals, doubt);
}

std::vector<std::string> ObjectStore::directories_below(const std::string& prefix) {
  std::vector<std::string> names;
  std::string after;
  while (true) {
    std::string found;
    list(prefix, after, [&](const ListedObject& object) {
      found = object.key;
      return false;
    });
    if (found.empty()) return names;
    const std::size_t slash = found.find('/', prefix.size());
    if (slash == std::string::npos) {
      after = found;
      continue;
    }
    names.push_back(found.substr(prefix.size(), slash - prefix.size()));
    // '0' is the character behind '/', so that NAME0 comes behind all that lies below NAME/.
    after = found.substr(0, slash) + "0";
  }
}

}  // namespace nbdstack
