// The error document that AWS's services, and those that are like them, answer with.
#pragma once

#include <cstddef>
#include <string>

namespace pugi {
class xml_node;
}

namespace nbdstack {

// Longer than any error document that services write.
inline constexpr std::size_t kErrorDocument_bytes_max = std::size_t{16} << 10U;

// What a service says about a failure. Everything may be empty: answers to HEAD have no body, and
// what stands between us and the service (proxies, load balancers) answers in its own way.
struct ServiceError {
  std::string code;      // "NoSuchKey"
  std::string message;   // in the service's words
  std::string endpoint;  // of redirects: where the bucket is
  std::string region;    // the region that the service expected
};

// Never throws: whatever is no S3 error document gives an empty ServiceError.
ServiceError parse_service_error(const std::string& text);
// What an element says that is such a document, or stands in a longer one.
ServiceError service_error_in(const pugi::xml_node& element);

}  // namespace nbdstack
