// Turns an answer of any of AWS's services that an operation cannot use into a Failure.
#pragma once

#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

// Returns whether the status is 200 to 299.
bool is_success(const HttpResponse& response);

// Returns the failure of an operation that cannot use the answer.
Failure unexpected(const HttpResponse& response);

}  // namespace nbdstack
