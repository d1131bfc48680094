// The XML documents of S3: listings, removal of many objects. (Its errors: service_error.hpp.)
//
// Services differ in namespaces, order and extra elements; only what is used is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/aws/service_error.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct ListPage {
  std::vector<ListedObject> objects;
  // What the keys have in common that were not listed because a delimiter was asked for.
  std::vector<std::string> common_prefixes;
  bool truncated = false;  // more follows
  std::string next_token;  // where it does, and the service says how to ask for it
  // What the service says of the page, where it does: how much there is on it, and of what prefix
  // (decoded, and as it came: not every service encodes it).
  std::optional<std::uint64_t> key_count{};
  std::optional<std::string> prefix{};
  std::string prefix_as_sent{};
};

// Nothing for what is no ListObjectsV2 answer. Keys are decoded where the page says that they are
// URL-encoded. Whether it fits what was asked for: list_page.hpp.
std::optional<ListPage> parse_list_page(const std::string& text);

struct VersionPage {
  std::vector<ListedVersion> versions;
  bool truncated = false;
  std::string next_key;      // these two, where more follows: behind which version that is
  std::string next_version;  // may be empty: behind all of the key
};

// Nothing for what is no ListObjectVersions answer.
std::optional<VersionPage> parse_version_page(const std::string& text);

// The body of a DeleteObjects request that is answered with failures only. Throws Error(EINVAL) for
// a name that would come out of it as another one.
std::string delete_request(std::span<const Removal> removals);

struct RemovalFailure {
  std::string key;
  ServiceError error;
};

// The keys that were not removed; nothing for what is no DeleteObjects answer.
std::optional<std::vector<RemovalFailure>> parse_delete_result(const std::string& text);

}  // namespace nbdstack
