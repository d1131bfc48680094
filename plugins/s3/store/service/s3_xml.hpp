// The XML documents of S3: listings, removal of many objects. (Its errors: service_error.hpp.)
//
// Services differ in namespaces, order and extra elements; only the needed ones are read.
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
  // The common prefixes of keys that were not listed because of a delimiter.
  std::vector<std::string> common_prefixes;
  bool truncated = false;  // more follows
  std::string next_token;  // if more follows and the service sends a token
  // The service's description of the page, if it sends one: its number of keys, and its prefix
  // (decoded, and verbatim: not every service encodes it).
  std::optional<std::uint64_t> key_count{};
  std::optional<std::string> prefix{};
  std::string prefix_as_sent{};
};

// Returns nothing if it is no ListObjectsV2 answer. Keys are decoded if the page declares them
// URL-encoded. list_page.hpp checks whether it fits the request.
std::optional<ListPage> parse_list_page(const std::string& text);

struct VersionPage {
  std::vector<ListedVersion> versions;
  bool truncated = false;
  std::string next_key;      // these two, if more follows: the version before it
  std::string next_version;  // may be empty: behind all versions of the key
};

// Returns nothing if it is no ListObjectVersions answer.
std::optional<VersionPage> parse_version_page(const std::string& text);

// Returns the body of a DeleteObjects request whose answer lists only failures. Throws
// Error(EINVAL) for a name that XML would change.
std::string delete_request(std::span<const Removal> removals);

struct RemovalFailure {
  std::string key;
  ServiceError error;
};

// Returns the keys that were not removed, or nothing if it is no DeleteObjects answer.
std::optional<std::vector<RemovalFailure>> parse_delete_result(const std::string& text);

}  // namespace nbdstack
