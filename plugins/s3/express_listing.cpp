#include "plugins/s3/express_listing.hpp"

#include <vector>

namespace nbdstack {

void widen_listing(QueryList& query) {
  std::erase_if(query, [](const auto& parameter) { return parameter.first == "start-after"; });
  for (auto& [name, value] : query) {
    if (name == "prefix") value.resize(value.rfind('/') + 1);  // npos + 1 is 0
  }
}

void narrow_page(ListPage& page, const AskedKeys& asked) {
  std::erase_if(page.objects, [&](const ListedObject& object) {
    return !object.key.starts_with(asked.prefix) || object.key <= asked.after;
  });
  page.key_count.reset();
  page.prefix.reset();
}

}  // namespace nbdstack
