// What is counted of the requests to the service: each that is sent, whatever becomes of it, so that the sum
// is what the service charges for. A part of the stack of calls (call_stack.hpp), the lowest.
#pragma once

#include "common/metrics/registry.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/store/service/s3_call.hpp"

namespace nbdstack {

// `below` sends one request, and leaves call.outcome. Without metrics it is returned as it is. The clock
// outlives the result.
PerformCall counted(PerformCall below, const Metrics& metrics, Clock& clock);

}  // namespace nbdstack
