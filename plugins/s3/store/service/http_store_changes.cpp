// The puts and removals of HttpStore.
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
#include "common/sync/mutex.hpp"
#include "plugins/s3/store/piece_checksums.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kAnswer_bytes_max = 16UL << 20U;  // 1,000 keys of 1,024 bytes, encoded: 4 MiB

// Services report a conflict for two concurrent changes, which passes, or for conditions as such.
constexpr unsigned kConflicts_max = 4;

// Returns whether an answer may refuse conditions as such, as some services do, and proxies that
// remove headers. If it refuses every put instead, the next one shows that.
bool refuses_conditions(int status, const Failure& failure) {
  return status == 409 || (!failure.may_pass && (status == 400 || status == 403 || status == 405));
}

// Returns whether the answer to DeleteObjects may mean that the service has no such request.
bool refuses_many(const HttpResponse& response) {
  if (response.status == 501 || response.status == 405) return true;
  const std::string code = parse_service_error(response.text).code;
  return response.status == 400 && !failure_of(400, {.code = code}, std::nullopt).may_pass &&
         code != "ExpiredToken" && code != "InvalidToken" && code != "TokenRefreshRequired" &&
         code != "AuthorizationHeaderMalformed" && code != "RequestTimeTooSkewed";
}

}  // namespace

// Returns the header by which the service verifies a body.
Header HttpStore::digest_header(std::span<const std::byte> body, const Sha256Digest& digest) const {
  if (config_.session != nullptr) return {"x-amz-checksum-sha256", to_base64(digest)};
  return {"content-md5", to_base64(md5(body))};
}

S3Call HttpStore::put_call(const S3Operation& operation, const std::string& key,
                           std::span<const std::byte> body, const PutOptions& options) const {
  const Sha256Digest digest = sha256(body);
  S3Call call{.operation = operation, .key = key, .body = body, .payload_sha256 = to_hex(digest)};
  call.doubt = options.doubt;
  const ObjectAttributes& attributes = options.attributes;
  const std::string& type = attributes.content_type;
  call.headers = {digest_header(body, digest),
                  {"content-type", type.empty() ? "application/octet-stream" : type}};
  if (!attributes.content_encoding.empty()) {
    call.headers.emplace_back("content-encoding", attributes.content_encoding);
  }
  for (const auto& [name, value] : attributes.metadata) {
    call.headers.emplace_back(std::string(kMetadataPrefix) + name, value);
  }
  const auto add = [&](const HeaderList& headers) {
    call.headers.insert(call.headers.end(), headers.begin(), headers.end());
  };
  add(config_.options.put_headers);
  if (options.is_block) add(config_.options.block_headers);
  if (options.with_checksum) {
    call.headers.emplace_back(kChecksumHeader, to_hex(xxh3_128(body)));
    const auto pieces = options.with_pieces ? PieceChecksums::of(body) : std::nullopt;
    if (pieces.has_value()) call.headers.emplace_back(kPiecesHeader, pieces->to_text());
  }
  return call;
}

PutOutcome HttpStore::put(const std::string& key, std::span<const std::byte> body,
                          const PutOptions& options) {
  if (options.mode != PutMode::replace) return put_on_condition(key, body, options);
  S3Call call = put_call(s3_operation::kPut, key, body, options);
  PutOutcome outcome;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (auto failure = error_in_success(response, response.text)) return failure;
    outcome.etag = response.header("etag").value_or("");
    note_versions(response);
    return std::nullopt;
  });
  return outcome;
}

// The answer is to a put, or to a removal of a key's current version. A bucket without versions, or
// with suspended ones, gives a put no id or the common id "null"; if suspended, it reports the
// marker that replaces a removed object.
void HttpStore::note_versions(const HttpResponse& response) {
  const std::string id = response.header("x-amz-version-id").value_or("null");
  const bool is_marked = response.header("x-amz-delete-marker").value_or("") == "true";
  if (id != "null" || is_marked) keeps_versions_ = true;
}

PutOutcome HttpStore::put_on_condition(const std::string& key, std::span<const std::byte> body,
                                       const PutOptions& options) {
  const bool create = options.mode == PutMode::create_only;
  S3Call call =
      put_call(create ? s3_operation::kCreate : s3_operation::kReplace, key, body, options);
  call.headers.emplace_back(std::string(call.operation.condition), create ? "*" : options.etag);
  // Then libcurl has no reason to send a request twice by itself, which would add another doubt.
  call.fresh_connection = options.doubt == nullptr;
  const PutResult contrary = create ? PutResult::exists : PutResult::changed;
  unsigned conflicts = 0;
  PutOutcome outcome;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    const int status = response.status;
    outcome = {};
    if (auto failure = error_in_success(response, response.text)) return failure;
    if (is_success(response)) {
      outcome.etag = response.header("etag").value_or("");
      note_versions(response);
      return std::nullopt;
    }
    if (status == 412) {
      outcome.result = contrary;
      return std::nullopt;
    }
    Failure failure = unexpected(response);
    if (status == 409 && ++conflicts < kConflicts_max) return failure;
    if (status == 501 || (options.is_trial && refuses_conditions(status, failure))) {
      outcome = {PutResult::unsupported, {}, failure.in_words()};
      return std::nullopt;
    }
    return failure;
  });
  if (!found) outcome = {.result = contrary};
  if (outcome.result != contrary) return outcome;
  if (call.in_doubt || !call.fresh_connection) {
    const auto etag = etag_if_holds(key, body);
    if (etag.has_value()) return {PutResult::stored, *etag};
  }
  return outcome;
}

// Returns the object's ETag if it has exactly this body.
std::optional<std::string> HttpStore::etag_if_holds(const std::string& key,
                                                    std::span<const std::byte> body) {
  // The object may be replaced by a longer one at any moment, so its length is no reason to fail:
  // an object longer than `body` does not have this body.
  S3Call call{.operation = s3_operation::kGet, .key = key, .text_limit = body.size() + 1};
  std::optional<std::string> etag;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    etag.reset();
    if (auto fault = contradiction_in(response)) return fault;
    const auto stored = std::as_bytes(std::span(response.text));
    if (response.text_cut || !std::equal(stored.begin(), stored.end(), body.begin(), body.end())) {
      return std::nullopt;
    }
    etag = response.header("etag").value_or("");
    return verify_checksum(response, stored);
  });
  return found ? etag : std::nullopt;
}

std::vector<std::string> HttpStore::remove_matching(std::span<const Removal> removals,
                                                    Doubt& doubt) {
  std::vector<std::string> refused;
  while (!removals.empty()) {
    const auto batch = removals.first(std::min(removals.size(), removal_pace_.keys()));
    if (batch.size() == 1 && batch.front().etag.empty()) {
      remove_one(batch.front(), doubt);
    } else {
      const Many many =
          knows_many_ == Knows::no ? Many::not_known : remove_many(batch, doubt, refused);
      if (many == Many::too_slow) continue;
      if (many == Many::not_known) remove_each(batch, doubt, refused);
    }
    removals = removals.subspan(batch.size());
  }
  return refused;
}

// Some services do not know DeleteObjects, and refuse it in several ways. So the first object of
// such a refused request is removed by itself, which shows the cause of the refusal.
void HttpStore::remove_each(std::span<const Removal> removals, Doubt& doubt,
                            std::vector<std::string>& refused) {
  Mutex merging;  // guards `doubt` and `refused`
  const auto remove = [&](const Removal& removal) {
    Doubt its_doubt;
    const auto merge = [&](bool was_refused) {
      const MutexLock lock(merging);
      doubt.is_open |= its_doubt.is_open;
      doubt.was_given_up |= its_doubt.was_given_up;
      doubt.may_pass |= its_doubt.may_pass;
      if (was_refused) refused.push_back(removal.key);
    };
    try {
      merge(!remove_one(removal, its_doubt));
    } catch (...) {
      merge(false);
      throw;
    }
  };
  if (knows_many_ != Knows::no) {
    remove(removals.front());
    removals = removals.subspan(1);
    if (knows_many_.exchange(Knows::no) != Knows::no) {
      log::error("{}: the service does not remove many objects with one request: each takes one",
                 url_of(""));
    }
  }
  removers_.run(
      removals.size(), [&](std::size_t i) { remove(removals[i]); }, WorkerPool::OnFailure::stop);
}

bool HttpStore::remove_one(const Removal& removal, Doubt& doubt) {
  S3Call call{.operation = s3_operation::kDelete, .key = removal.key};
  call.require(removal.etag);
  if (!removal.version_id.empty()) call.query.emplace_back("versionId", removal.version_id);
  call.doubt = &doubt;
  bool is_done = true;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    is_done = removal.etag.empty() || response.status != 412;
    if (!is_done) return std::nullopt;
    if (auto failure = error_in_success(response, response.text)) return failure;
    if (is_success(response) && removal.version_id.empty()) note_versions(response);
    if (is_success(response)) return std::nullopt;
    if (parse_service_error(response.text).code == "NoSuchVersion") return std::nullopt;
    return unexpected(response);
  });
  return is_done;
}

HttpStore::Many HttpStore::remove_many(std::span<const Removal> removals, Doubt& doubt,
                                       std::vector<std::string>& refused) {
  const std::string text = delete_request(removals);
  const auto body = std::as_bytes(std::span(text));
  const Sha256Digest digest = sha256(body);
  S3Call call{.operation = s3_operation::kDeleteMany,
              .headers = {digest_header(body, digest), {"content-type", "application/xml"}},
              .body = body,
              .payload_sha256 = to_hex(digest),
              .text_limit = kAnswer_bytes_max};
  call.doubt = &doubt;
  call.ends_when_given_up = removals.size() > RemovalPace::kLeast;
  bool is_known = true;
  TimePoint answered = clock_.now();
  const TimePoint begun = answered;
  const Judge judge = [&](const HttpResponse& response) -> std::optional<Failure> {
    answered = clock_.now();
    is_known = knows_many_ == Knows::yes || !refuses_many(response);
    if (!is_known) return std::nullopt;
    if (response.status == 504 && call.ends_when_given_up) {
      call.was_given_up = true;  // by a proxy before the service
      return Failure{.reason = unexpected(response).reason};
    }
    if (response.status != 200) return unexpected(response);
    const auto failures = parse_delete_result(response.text);
    if (!failures) return not_the_document(response, "DeleteResult");
    std::vector<std::string> failed;
    for (const RemovalFailure& each : *failures) {
      if (each.error.code == "NoSuchKey" || each.error.code == "NoSuchVersion") continue;
      if (each.error.code == "PreconditionFailed") {
        failed.push_back(each.key);
        continue;
      }
      if (each.error.code == "InternalError" || each.error.code == "InternalFailure") {
        doubt.is_open = true;
      }
      // Removing the whole batch again does no harm.
      Failure failure = failure_of(each.error);
      failure.reason = fmt::format("{} was not removed: {}", each.key, failure.reason);
      return failure;
    }
    // Copied in the judge, so that a lack of memory counts as one after the removal.
    refused.insert(refused.end(), failed.begin(), failed.end());
    return std::nullopt;
  };
  try {
    run(call, judge);
  } catch (const Error&) {
    if (!call.was_given_up || !removal_pace_.given_up(removals.size())) throw;
    return Many::too_slow;
  }
  if (!is_known) return Many::not_known;
  knows_many_ = Knows::yes;
  removal_pace_.answered(removals.size(), answered - begun);
  return Many::done;
}

}  // namespace nbdstack
