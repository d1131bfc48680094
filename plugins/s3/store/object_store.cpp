#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

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
