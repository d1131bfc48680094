// HttpStore's puts and removals.
#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/base64.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "plugins/s3/http_call.hpp"
#include "plugins/s3/http_store.hpp"
#include "plugins/s3/piece_checksums.hpp"
#include "plugins/s3/s3_answer.hpp"
#include "plugins/s3/s3_xml.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kKeysPerRemoval = 1000;           // S3's limit
constexpr std::size_t kAnswer_bytes_max = 16UL << 20U;  // 1,000 keys of 1,024 bytes, encoded: 4 MiB

}  // namespace

HttpStore::Call HttpStore::put_call(const std::string& key, std::span<const std::byte> body,
                                    const PutOptions& options) const {
  Call call{.method = "PUT", .key = key, .body = body, .payload_sha256 = to_hex(sha256(body))};
  call.doubt = options.doubt;
  const ObjectAttributes& attributes = options.attributes;
  const std::string& type = attributes.content_type;
  call.headers = {{"content-md5", to_base64(md5(body))},
                  {"content-type", type.empty() ? "application/octet-stream" : type}};
  if (!attributes.content_encoding.empty()) {
    call.headers.emplace_back("content-encoding", attributes.content_encoding);
  }
  for (const auto& [name, value] : attributes.metadata) {
    call.headers.emplace_back(std::string(kMetadataPrefix) + name, value);
  }
  const HeaderList& always = config_.options.put_headers;
  call.headers.insert(call.headers.end(), always.begin(), always.end());
  if (options.with_checksum) {
    call.headers.emplace_back(kChecksumHeader, to_hex(xxh3_128(body)));
    const auto pieces = options.with_pieces ? PieceChecksums::of(body) : std::nullopt;
    if (pieces.has_value()) call.headers.emplace_back(kPiecesHeader, pieces->to_text());
  }
  return call;
}

PutOutcome HttpStore::put(const std::string& key, std::span<const std::byte> body,
                          const PutOptions& options) {
  return options.mode == PutMode::replace ? put_unconditionally(key, body, options)
                                          : put_on_condition(key, body, options);
}

PutOutcome HttpStore::put_unconditionally(const std::string& key, std::span<const std::byte> body,
                                          const PutOptions& options) {
  Call call = put_call(key, body, options);
  PutOutcome outcome;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (!is_success(response)) return unexpected(response);
    outcome.etag = response.header("etag").value_or("");
    return std::nullopt;
  });
  return outcome;
}

PutOutcome HttpStore::put_on_condition(const std::string& key, std::span<const std::byte> body,
                                       const PutOptions& options) {
  const bool create = options.mode == PutMode::create_only;
  Call call = put_call(key, body, options);
  call.headers.emplace_back(create ? "if-none-match" : "if-match", create ? "*" : options.etag);
  // Without a reason to send a request twice by itself, libcurl leaves no doubts of its own.
  call.fresh_connection = options.doubt == nullptr;
  int status = 0;
  PutOutcome outcome;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    status = response.status;
    if (is_success(response)) {
      outcome.etag = response.header("etag").value_or("");
      return std::nullopt;
    }
    if (status == 412 || status == 501 || (!create && is_missing(response))) return std::nullopt;
    return unexpected(response);
  });
  if (status == 501) return {PutResult::unsupported, {}};
  if (status != 412 && status != 404) return outcome;
  if (call.in_doubt || !call.fresh_connection) {
    const auto etag = etag_if_holds(key, body);
    if (etag.has_value()) return {PutResult::stored, *etag};
  }
  return {create ? PutResult::exists : PutResult::changed, {}};
}

// The object's ETag where it has exactly this body.
std::optional<std::string> HttpStore::etag_if_holds(const std::string& key,
                                                    std::span<const std::byte> body) {
  // The object may be replaced by a longer one at any moment, so that its length is no reason to
  // fail: more than `body` is not this body.
  Call call{.method = "GET", .key = key, .text_limit = body.size() + 1};
  std::optional<std::string> etag;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    etag.reset();
    if (is_missing(response)) return std::nullopt;
    if (response.status != 200) return unexpected(response);
    if (auto fault = contradiction_in(response)) return fault;
    const auto stored = std::as_bytes(std::span(response.text));
    if (response.text_cut || !std::equal(stored.begin(), stored.end(), body.begin(), body.end())) {
      return std::nullopt;
    }
    etag = response.header("etag").value_or("");
    return verify_checksum(response, stored);
  });
  return etag;
}

void HttpStore::remove(std::span<const std::string> keys) {
  while (!keys.empty()) {
    const auto batch = keys.first(std::min(keys.size(), kKeysPerRemoval));
    if (batch.size() == 1) {
      remove_one(batch.front());
    } else {
      remove_batch(batch);
    }
    keys = keys.subspan(batch.size());
  }
}

std::vector<std::string> HttpStore::remove_matching(std::span<const Removal> removals,
                                                    Doubt& doubt) {
  std::vector<std::string> refused;
  while (!removals.empty()) {
    const auto batch = removals.first(std::min(removals.size(), kKeysPerRemoval));
    if (batch.size() == 1 && batch.front().etag.empty()) {
      remove_one(batch.front().key, &doubt);
    } else {
      remove_matching_batch(batch, doubt, refused);
    }
    removals = removals.subspan(batch.size());
  }
  return refused;
}

void HttpStore::remove_one(const std::string& key, Doubt* doubt) {
  Call call{.method = "DELETE", .key = key};
  call.doubt = doubt;
  run(call, [](const HttpResponse& response) -> std::optional<Failure> {
    if (is_success(response) || is_missing(response)) return std::nullopt;
    return unexpected(response);
  });
}

void HttpStore::remove_batch(std::span<const std::string> keys) {
  std::vector<Removal> removals;
  removals.reserve(keys.size());
  for (const std::string& key : keys) removals.push_back({.key = key, .etag = {}});
  Doubt doubt;
  std::vector<std::string> refused;
  remove_matching_batch(removals, doubt, refused);
}

void HttpStore::remove_matching_batch(std::span<const Removal> removals, Doubt& doubt,
                                      std::vector<std::string>& refused) {
  const std::string text = delete_request(removals);
  const auto body = std::as_bytes(std::span(text));
  Call call{.method = "POST",
            .key = "",
            .query = {{"delete", ""}},
            .headers = {{"content-md5", to_base64(md5(body))}, {"content-type", "application/xml"}},
            .body = body,
            .payload_sha256 = to_hex(sha256(body)),
            .text_limit = kAnswer_bytes_max};
  call.doubt = &doubt;
  std::vector<std::string> failed;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (response.status != 200) return unexpected(response);
    const auto failures = parse_delete_result(response.text);
    if (!failures) return not_the_document(response, "DeleteResult");
    failed.clear();
    for (const RemovalFailure& each : *failures) {
      if (each.error.code == "NoSuchKey") continue;
      if (each.error.code == "PreconditionFailed") {
        failed.push_back(each.key);
        continue;
      }
      // Removing the whole batch again does no harm.
      Failure failure = failure_of(each.error);
      failure.reason = fmt::format("{} was not removed: {}", each.key, failure.reason);
      return failure;
    }
    return std::nullopt;
  });
  refused.insert(refused.end(), failed.begin(), failed.end());
}

}  // namespace nbdstack
