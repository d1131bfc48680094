#include "plugins/s3/s3_answer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/s3_xml.hpp"

namespace nbdstack {
namespace {

// Seconds or a date.
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

std::optional<std::chrono::seconds> age_of(const HttpResponse& response) {
  const auto now = parse_http_date(response.header("date").value_or(""));
  const auto stored = parse_http_date(response.header("last-modified").value_or(""));
  if (!now.has_value() || !stored.has_value()) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(*now - *stored);
}

}  // namespace

bool is_success(const HttpResponse& response) {
  return response.status >= 200 && response.status < 300;
}

bool is_missing(const HttpResponse& response) {
  if (response.status != 404) return false;
  if (parse_service_error(response.text).code == "NoSuchKey") return true;
  return response.text.empty() && response.header("x-amz-request-id").has_value();
}

ObjectInfo info_of(const HttpResponse& response) {
  ObjectInfo object{
      .size_bytes = 0,
      .etag = response.header("etag").value_or(""),
      .age = age_of(response),
      .attributes = {.content_type = response.header("content-type").value_or(""),
                     .content_encoding = response.header("content-encoding").value_or(""),
                     .metadata = {}}};
  for (const auto& [name, value] : response.headers) {
    if (!name.starts_with(kMetadataPrefix) || name == kChecksumHeader) continue;
    object.attributes.metadata.emplace_back(name.substr(kMetadataPrefix.size()), value);
  }
  return object;
}

Failure unexpected(const HttpResponse& response) {
  ServiceError error = parse_service_error(response.text);
  if (error.region.empty()) error.region = response.header("x-amz-bucket-region").value_or("");
  if (error.endpoint.empty()) error.endpoint = response.header("location").value_or("");
  if (is_success(response)) {
    return {.reason = fmt::format("the service answered {}, which does not fit the request",
                                  response.status)};
  }
  Failure failure = failure_of(response.status, error, retry_after_of(response));
  if (response.status == 404 && error.code.empty()) {
    failure.reason += " without a reason of S3's (is endpoint-url an S3 service?)";
  }
  return failure;
}

std::optional<Failure> verify_checksum(const HttpResponse& response,
                                       std::span<const std::byte> body) {
  const auto stored = response.header(kChecksumHeader);
  if (!stored) return std::nullopt;
  const std::string computed = to_hex(xxh3_128(body));
  if (*stored == computed) return std::nullopt;
  return Failure{.may_pass = true,
                 .reason = fmt::format("the object is corrupted: its checksum is {}, but that of "
                                       "the body that came is {}",
                                       *stored, computed),
                 .is_damage = true};
}

std::optional<Failure> judge_whole(const HttpResponse& response, std::span<const std::byte> body) {
  if (response.status != 200) return unexpected(response);
  if (response.buffered_bytes != body.size()) {
    // Without a Content-Length, a connection that breaks looks like the end.
    return Failure{.may_pass = !response.header("content-length").has_value(),
                   .reason = fmt::format("the object is {} bytes long where {} were expected",
                                         response.buffered_bytes, body.size())};
  }
  return verify_checksum(response, body);
}

std::optional<std::uint64_t> object_bytes_of(const HttpResponse& response,
                                             const std::string& range) {
  const std::string got = response.header("content-range").value_or("");
  const std::string expected = fmt::format("bytes {}/", range);
  std::uint64_t object_bytes = 0;
  const char* const end = got.data() + got.size();
  if (!got.starts_with(expected)) return std::nullopt;
  const auto parsed = std::from_chars(got.data() + expected.size(), end, object_bytes);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(object_bytes) : std::nullopt;
}

std::optional<Failure> judge_part(const HttpResponse& response, const std::string& range,
                                  std::size_t length, std::uint64_t object_bytes) {
  if (response.status == 416) {
    return Failure{.reason = fmt::format("the object is shorter than the range {}", range)};
  }
  if (response.status != 206) return unexpected(response);
  const auto found_bytes = object_bytes_of(response, range);
  if (!found_bytes.has_value() || response.buffered_bytes != length) {
    return Failure{.reason = fmt::format("the range {} was asked for, but the answer is {} bytes "
                                         "of Content-Range \"{}\"",
                                         range, response.buffered_bytes,
                                         response.header("content-range").value_or(""))};
  }
  if (*found_bytes != object_bytes) {
    return Failure{.reason = fmt::format("the object is {} bytes long where {} were expected",
                                         *found_bytes, object_bytes)};
  }
  return std::nullopt;
}

}  // namespace nbdstack
