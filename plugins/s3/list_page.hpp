// What a page of a listing has to be for anybody to go by it.
//
// Services have shown keys that were not asked for, in another writing than their names' (a '+' or
// a '%' that was encoded once more or once less), twice, out of order, or have said that more
// follows without saying how to go on. Whoever takes such a page for the truth takes what is stored
// for holes. One such page may be an accident of a service that is being restarted; one after the
// other is how the service is.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/object_store.hpp"
#include "plugins/s3/s3_xml.hpp"

namespace nbdstack {

// Keys that begin with `prefix` and sort after `after`, which may be empty.
struct AskedKeys {
  std::string prefix;
  std::string after;
};

// What contradicts the question in a listed key that follows `asked.after`; nothing where it fits.
std::optional<std::string> fault_of_key(const std::string& key, const AskedKeys& asked);

// What a page contradicts: the question, or itself. Nothing where it fits.
std::optional<std::string> fault_of_page(const ListPage& page, const AskedKeys& asked);

}  // namespace nbdstack
