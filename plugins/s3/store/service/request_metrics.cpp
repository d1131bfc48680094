#include "plugins/s3/store/service/request_metrics.hpp"

#include <fmt/format.h>

#include <chrono>
#include <new>
#include <string>
#include <utility>

#include "common/metrics/metric.hpp"
#include "common/quoted_name.hpp"
#include "common/sync/request_trace.hpp"

namespace nbdstack {
namespace {

void count(const Metrics& metrics, const S3Call& call, Duration took) {
  const std::string op(call.operation.name);
  const HttpResponse* const response = call.response();
  const std::string code = response == nullptr ? "none" : std::to_string(response->status);
  const std::size_t received =
      response == nullptr ? 0 : response->buffered_bytes + response->text.size();
  if (RequestTrace* const trace = RequestTrace::current()) {
    trace->note(fmt::format("{} {} code={} bytes={} ms={:.3f}", op, quoted_name(call.key), code,
                            call.body.size() + received,
                            std::chrono::duration<double, std::milli>(took).count()));
  }
  if (!metrics.is_on()) return;
  metrics.counter(metric::kS3Requests, {{"op", op}, {"code", code}}).add();
  metrics.counter(metric::kS3SentBytes, {{"op", op}}).add(call.body.size());
  metrics.counter(metric::kS3ReceivedBytes, {{"op", op}}).add(received);
  metrics.histogram(metric::kS3Seconds, {{"op", op}}).observe(took);
}

}  // namespace

PerformCall counted(PerformCall below, const Metrics& metrics, Clock& clock) {
  return [below = std::move(below), metrics, &clock](S3Call& call, const CallLimits& limits) {
    if (!metrics.is_on() && RequestTrace::current() == nullptr) return below(call, limits);
    call.outcome.reset();
    const TimePoint begin = clock.now();
    // Also if this server ends the request while it is running: it may have been sent.
    struct End {
      const Metrics& metrics;
      const S3Call& call;
      const Clock& clock;
      TimePoint begin;
      ~End() {
        try {
          count(metrics, call, clock.now() - begin);
        } catch (const std::bad_alloc&) {
          // It is not counted.
        }
      }
    } const end{metrics, call, clock, begin};
    return below(call, limits);
  };
}

}  // namespace nbdstack
