// The ids that a service gives each request. Its operators find the request in their logs by them,
// and AWS's support asks for both of S3's. So every error that an answer leads to contains them.
#pragma once

#include <string>
#include <string_view>

#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

// Returns "x-amz-request-id: 4442587FB7D0A2F9, x-amz-id-2: vlR7PnpV2Ce81l0PRw6j". An id that the
// headers lack is taken from an error document (RequestId, HostId); the result is empty if both
// lack them. `body`, if given, replaces response.text. Throws for lack of memory only. An id that
// is not printable ASCII, or longer than any such id, is left out.
std::string request_ids_of(const HttpResponse& response, std::string_view body = {});

}  // namespace nbdstack
