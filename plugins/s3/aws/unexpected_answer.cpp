#include "plugins/s3/aws/unexpected_answer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/service_error.hpp"

namespace nbdstack {
namespace {

// The header has seconds or a date.
std::optional<Duration> retry_after_of(const HttpResponse& response) {
  const auto text = response.header("retry-after");
  if (!text) return std::nullopt;
  unsigned count = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), count);
  if (error == std::errc() && end == text->data() + text->size())
    return std::chrono::seconds(count);
  const auto date = parse_http_date(*text);
  if (!date) return std::nullopt;
  return std::max<Duration>(*date - std::chrono::system_clock::now(), Duration::zero());
}

}  // namespace

bool is_success(const HttpResponse& response) {
  return response.status >= 200 && response.status < 300;
}

Failure unexpected(const HttpResponse& response) {
  const ServiceError error = parse_service_error(response.text);
  if (is_success(response)) {
    return {.reason = fmt::format("the service answered {}, which does not fit the request",
                                  response.status)};
  }
  Failure failure = failure_of(response.status, error, retry_after_of(response));
  if (response.status == 404 && error.code.empty()) {
    failure.reason += " without a reason of S3's (is endpoint-url an S3 service?)";
  }
  failure.request_ids = request_ids_of(response);
  return failure;
}

}  // namespace nbdstack
