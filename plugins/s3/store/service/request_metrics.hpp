// Counts the requests to the service: each that is sent, whatever becomes of it, so that the sum is
// the number that the service charges for; and notes each in the trace of the client's request that
// needs it (common/sync/request_trace.hpp). The lowest part of the stack of calls (call_stack.hpp).
#pragma once

#include "common/metrics/registry.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/store/service/s3_call.hpp"

namespace nbdstack {

// `below` sends one request, and leaves call.outcome. The clock outlives the result.
PerformCall counted(PerformCall below, const Metrics& metrics, Clock& clock);

}  // namespace nbdstack
