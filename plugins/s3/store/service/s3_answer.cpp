#include "plugins/s3/store/service/s3_answer.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/parse_number.hpp"
#include "common/quoted_name.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {
namespace {

std::optional<std::chrono::seconds> age_of(const HttpResponse& response) {
  const auto now = parse_http_date(response.header("date").value_or(""));
  const auto stored = parse_http_date(response.header("last-modified").value_or(""));
  if (!now.has_value() || !stored.has_value()) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(*now - *stored);
}

// Verifies a body by the checksums of its pieces, if there are any.
std::optional<Failure> verify_pieces(const HttpResponse& response,
                                     std::span<const std::byte> body) {
  try {
    const ObjectChecksums checksums = checksums_of(response, body.size());
    if (!checksums.pieces.has_value()) return std::nullopt;
    const auto fault = checksums.pieces->fault_in(body, 0);
    return fault.has_value() ? std::optional(corrupted(*fault)) : std::nullopt;
  } catch (const Error& error) {
    return corrupted(error.what());
  }
}

// Does not check the list of pieces.
ChecksumKind kind_of_checksums(const HttpResponse& response, std::uint64_t object_bytes) {
  if (response.header(kPiecesHeader).has_value()) return ChecksumKind::pieces;
  return kind_of({.whole = response.header(kChecksumHeader).value_or("")}, object_bytes);
}

// A service may show an object that is only half written.
Failure of_another_length(std::uint64_t found_bytes, std::uint64_t expected_bytes) {
  const bool is_cut = found_bytes < expected_bytes;
  return {.may_pass = is_cut,
          .reason = fmt::format("the object is {} bytes long where {} were expected", found_bytes,
                                expected_bytes),
          .is_damage = is_cut};
}

std::string_view text_of(std::span<const std::byte> body) {
  return {reinterpret_cast<const char*>(body.data()), body.size()};
}

// The first bytes of an object that an answer announces.
struct FirstBytes {
  std::uint64_t count = 0;
  std::uint64_t object_bytes = 0;
};

std::optional<FirstBytes> first_bytes_of(const HttpResponse& response) {
  std::uint64_t object_bytes = 0;
  if (response.status == 200) {
    const auto length = response.header("content-length");
    if (!length.has_value() || !parse_number(*length, object_bytes)) return std::nullopt;
    return FirstBytes{.count = object_bytes, .object_bytes = object_bytes};
  }
  constexpr std::string_view kFromFirst = "bytes 0-";
  const std::string range = response.header("content-range").value_or("");
  const std::size_t slash = range.find('/');
  std::uint64_t last = 0;
  if (!range.starts_with(kFromFirst) || slash == std::string::npos ||
      !parse_number(range.substr(kFromFirst.size(), slash - kFromFirst.size()), last) ||
      !parse_number(range.substr(slash + 1), object_bytes) || last >= object_bytes) {
    return std::nullopt;
  }
  return FirstBytes{.count = last + 1, .object_bytes = object_bytes};
}

}  // namespace

bool is_missing(const HttpResponse& response) {
  if (response.status != 404) return false;
  if (parse_service_error(response.text).code == "NoSuchKey") return true;
  return response.text.empty() && response.header("x-amz-request-id").has_value();
}

ObjectInfo info_of(const HttpResponse& response, std::uint64_t size_bytes) {
  ObjectInfo object{
      .size_bytes = size_bytes,
      .etag = response.header("etag").value_or(""),
      .age = age_of(response),
      .attributes = {.content_type = response.header("content-type").value_or(""),
                     .content_encoding = response.header("content-encoding").value_or(""),
                     .metadata = {}},
      .checksum = kind_of_checksums(response, size_bytes),
      .whole_checksum = response.header(kChecksumHeader).value_or("")};
  for (const auto& [name, value] : response.headers) {
    if (!name.starts_with(kMetadataPrefix) || name == kChecksumHeader || name == kPiecesHeader) {
      continue;
    }
    object.attributes.metadata.emplace_back(name.substr(kMetadataPrefix.size()), value);
  }
  return object;
}

bool calls_request_wrong(const HttpResponse& response) {
  if (response.status == 501) return true;
  if (response.status != 400) return false;
  const std::string code = parse_service_error(response.text).code;
  return code.starts_with("Invalid") || code == "NotImplemented";
}

bool carries_checksum(const HttpResponse& response) {
  return response.header(kChecksumHeader).has_value() || response.header(kPiecesHeader).has_value();
}

ObjectChecksums checksums_of(const HttpResponse& response, std::uint64_t object_bytes) {
  ObjectChecksums checksums{.whole = response.header(kChecksumHeader).value_or("")};
  const auto pieces = response.header(kPiecesHeader);
  if (pieces.has_value()) checksums.pieces = PieceChecksums::parse_text(*pieces, object_bytes);
  return checksums;
}

Failure corrupted(const std::string& reason) {
  return {.may_pass = true,
          .reason = fmt::format("the object is corrupted: {}", reason),
          .is_damage = true};
}

std::optional<Failure> error_in_success(const HttpResponse& response, std::string_view body) {
  if (!is_success(response) || body.empty() || body.size() > kErrorDocument_bytes_max ||
      response.header("etag").has_value() || carries_checksum(response)) {
    return std::nullopt;
  }
  const ServiceError error = parse_service_error(std::string(body));
  if (error.code.empty()) return std::nullopt;
  Failure failure = failure_of(error);
  failure.may_pass = true;
  return failure;
}

Failure not_the_document(const HttpResponse& response, const char* document) {
  if (auto failure = error_in_success(response, response.text)) return *failure;
  const std::size_t first = response.text.find_first_not_of(" \t\r\n");
  const bool is_cut =
      first == std::string::npos || response.text.compare(first, 5, "<?xml") == 0 ||
      response.text.compare(first, 1 + std::strlen(document), fmt::format("<{}", document)) == 0;
  return {.may_pass = is_cut,
          .reason = fmt::format(
              "the answer is no {}{}", document,
              is_cut ? ", or only a part of one" : " (is endpoint-url an S3 service?)")};
}

std::optional<Failure> contradiction_in(const HttpResponse& response) {
  for (const char* name :
       {"content-length", "content-range", "etag", kChecksumHeader.data(), kPiecesHeader.data()}) {
    const auto first = response.header(name);
    for (const auto& [other, value] : response.headers) {
      if (other != name || value == *first) continue;
      return Failure{.may_pass = true,
                     .reason = fmt::format("the answer contradicts itself: its {} is {}, and {}",
                                           name, quotable(*first), quotable(value))};
    }
  }
  const auto announced = response.header("content-length");
  const std::size_t came = std::max(response.buffered_bytes, response.text.size());
  std::size_t length = 0;
  if (!announced.has_value() || response.text_cut || !parse_number(*announced, length) ||
      length == came) {
    return std::nullopt;
  }
  return Failure{.may_pass = true,
                 .reason = fmt::format("the answer contradicts itself: its content-length is {}, "
                                       "and its body has {} bytes",
                                       length, came)};
}

std::optional<std::uint64_t> object_bytes_from_first(const HttpResponse& response) {
  const auto told = first_bytes_of(response);
  return told.has_value() ? std::optional(told->object_bytes) : std::nullopt;
}

std::optional<Failure> judge_first_byte(const HttpResponse& response) {
  if (response.status != 206 && response.status != 200) return unexpected(response);
  if (auto fault = contradiction_in(response)) return fault;
  if (!response.text_cut) {
    if (auto failure = error_in_success(response, response.text)) return failure;
  }
  const auto told = first_bytes_of(response);
  if (told.has_value() && (response.text_cut || response.text.size() == told->count)) {
    return std::nullopt;
  }
  return Failure{
      .may_pass = true,
      .reason = fmt::format("the first byte was asked for, but the answer is {} bytes of "
                            "Content-Range \"{}\"",
                            response.text.size(),
                            quotable(response.header("content-range").value_or("")))};
}

bool may_refuse_first_byte(const HttpResponse& response) {
  return response.status == 416 || calls_request_wrong(response);
}

std::optional<Failure> verify_checksum(const HttpResponse& response,
                                       std::span<const std::byte> body) {
  const auto stored = response.header(kChecksumHeader);
  if (!stored) return verify_pieces(response, body);
  const std::string computed = to_hex(xxh3_128(body));
  if (*stored == computed) return std::nullopt;
  return corrupted(
      fmt::format("its checksum is {}, but that of the body that came is {}", *stored, computed));
}

std::optional<Failure> verify_all_checksums(const HttpResponse& response,
                                            std::span<const std::byte> body) {
  if (auto failure = verify_checksum(response, body)) return failure;
  return verify_pieces(response, body);
}

std::optional<Failure> judge_whole(const HttpResponse& response, std::span<const std::byte> body) {
  if (response.status != 200) return unexpected(response);
  if (auto fault = contradiction_in(response)) return fault;
  const auto came = body.first(std::min<std::size_t>(body.size(), response.buffered_bytes));
  if (auto failure = error_in_success(response, text_of(came))) return failure;
  if (const auto range = response.header("content-range")) {
    return Failure{.may_pass = true,
                   .reason = fmt::format("the answer contradicts itself: it is the whole object by "
                                         "its status, and \"{}\" by its Content-Range",
                                         quotable(*range))};
  }
  if (response.buffered_bytes == body.size()) return std::nullopt;
  return of_another_length(response.buffered_bytes, body.size());
}

std::optional<Failure> judge_identity(const HttpResponse& response, const std::string& etag) {
  if (etag.empty()) return std::nullopt;
  const std::string found = response.header("etag").value_or("");
  if (response.status != 412 && (!is_success(response) || found == etag)) return std::nullopt;
  return Failure{.reason = fmt::format("the object was replaced while it was being read: its ETag "
                                       "was {}{}. Restart the server to serve the new one",
                                       etag, found.empty() ? "" : " and is now " + found)};
}

std::optional<std::uint64_t> object_bytes_of(const HttpResponse& response,
                                             const std::string& range) {
  const std::string got = response.header("content-range").value_or("");
  const std::string expected = fmt::format("bytes {}/", range);
  std::uint64_t object_bytes = 0;
  if (!got.starts_with(expected) ||
      !parse_number(std::string_view(got).substr(expected.size()), object_bytes)) {
    return std::nullopt;
  }
  return object_bytes;
}

std::optional<Failure> judge_part(const HttpResponse& response, const std::string& range,
                                  std::size_t length, std::uint64_t object_bytes) {
  if (response.status == 416) {
    return Failure{.may_pass = true,
                   .reason = fmt::format("the object is shorter than the range {}", range),
                   .is_damage = true};
  }
  if (response.status != 206) return unexpected(response);
  if (auto fault = contradiction_in(response)) return fault;
  const auto found_bytes = object_bytes_of(response, range);
  if (!found_bytes.has_value() || response.buffered_bytes != length) {
    return Failure{.may_pass = true,
                   .reason = fmt::format("the range {} was asked for, but the answer is {} bytes "
                                         "of Content-Range \"{}\"",
                                         range, response.buffered_bytes,
                                         response.header("content-range").value_or(""))};
  }
  if (*found_bytes == object_bytes) return std::nullopt;
  return of_another_length(*found_bytes, object_bytes);
}

}  // namespace nbdstack
