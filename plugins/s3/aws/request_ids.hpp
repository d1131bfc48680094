// The ids that a service gives each request: whoever runs it finds the request in its logs by them,
// and AWS's support asks for both of S3's. So every error that an answer leads to tells them.
#pragma once

#include <string>
#include <string_view>

#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

// "x-amz-request-id: 4442587FB7D0A2F9, x-amz-id-2: vlR7PnpV2Ce81l0PRw6j": from the headers, or what
// an error document says (RequestId, HostId) for what they do not tell; empty: neither does. `body`
// is what came in place of response.text. Never throws but for lack of memory, and what is outside
// of printable ASCII, or longer than any such id, does not get into the message.
std::string request_ids_of(const HttpResponse& response, std::string_view body = {});

}  // namespace nbdstack
