// What an answer of any of AWS's services means to an operation that has no use for it.
#pragma once

#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

// 200 to 299.
bool is_success(const HttpResponse& response);

// The failure that an answer is which the operation has no use for.
Failure unexpected(const HttpResponse& response);

}  // namespace nbdstack
