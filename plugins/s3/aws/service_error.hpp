// The error document in answers of AWS's services, and of services like them.
#pragma once

#include <cstddef>
#include <string>

namespace pugi {
class xml_node;
}

namespace nbdstack {

// Longer than any error document that services write.
inline constexpr std::size_t kErrorDocument_bytes_max = std::size_t{16} << 10U;

// The failure that a service reports. Everything may be empty: answers to HEAD have no body, and
// machines between us and the service (proxies, load balancers) answer in their own form.
struct ServiceError {
  std::string code;      // "NoSuchKey"
  std::string message;   // in the service's words
  std::string endpoint;  // in redirects: the bucket's
  std::string region;    // the region that the service expected
};

// Never throws: a text that is no S3 error document gives an empty ServiceError.
ServiceError parse_service_error(const std::string& text);
// Returns the failure of an element that is such a document, or a part of a longer one.
ServiceError service_error_in(const pugi::xml_node& element);

}  // namespace nbdstack
