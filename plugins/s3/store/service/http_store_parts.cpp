// The reads of parts of objects of HttpStore.
#include <fmt/core.h>

#include <vector>

#include "common/error.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"

namespace nbdstack {
namespace {

std::string range_text(const Range& range) {
  return fmt::format("{}-{}", range.offset, range.end() - 1);
}

// Judges the answer to a read of a part. Damage that may have happened on the way is a failure.
std::optional<Failure> judge_read(const HttpResponse& response, const ObjectPart& part,
                                  const LearnedPieces& learned, PartRead& read,
                                  ObjectChecksums& checksums, PartVerdict& verdict) {
  if (auto failure = judge_identity(response, part.etag)) return failure;
  if (auto failure =
          judge_part(response, range_text(read.range()), read.buffer().size(), part.object_bytes)) {
    return failure;
  }
  try {
    checksums = checksums_of(response, part.object_bytes);
    verdict = read.verify(checksums, learned);
  } catch (const Error& error) {
    return corrupted(error.what());
  }
  if (verdict.kind == PartVerdict::Kind::damaged) return corrupted(verdict.reason);
  return std::nullopt;
}

}  // namespace

bool HttpStore::get_range(const std::string& key, std::span<std::byte> body,
                          const ObjectPart& part) {
  if (body.empty()) return look_up(key).has_value();  // HTTP has no empty range
  PartRead read(body, part);
  S3Call call{.operation = s3_operation::kGetPart, .key = key, .buffer = read.buffer()};
  call.require(part.etag);
  call.headers.emplace_back("range", "bytes=" + range_text(read.range()));
  PartVerdict verdict;
  ObjectChecksums checksums;
  const bool found = run(call, [&](const HttpResponse& response) {
    return judge_read(response, part, learned_, read, checksums, verdict);
  });
  if (!found) return false;
  if (verdict.kind == PartVerdict::Kind::needs_whole) {
    const LearnedPieces::Reading reading(learned_, checksums.whole);
    verdict = read.verify(checksums, learned_);  // other threads may have read it meanwhile
    if (verdict.kind != PartVerdict::Kind::verified) return get_part_of_whole(key, read, part);
  }
  if (verdict.kind == PartVerdict::Kind::unverified) unverified_.say(url_of(key));
  read.finish();
  return true;
}

// For an object whose only checksum is that of the whole. The checksums learned here verify its
// other parts.
bool HttpStore::get_part_of_whole(const std::string& key, PartRead& read, const ObjectPart& part) {
  std::vector<std::byte> whole(part.object_bytes);
  S3Call call{.operation = s3_operation::kGetVersion, .key = key, .buffer = whole};
  call.require(part.etag);
  std::string checksum;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (auto failure = judge_identity(response, part.etag)) return failure;
    if (auto failure = judge_whole(response, whole)) return failure;
    checksum = response.header(kChecksumHeader).value_or("");
    return verify_checksum(response, whole);
  });
  if (!found) return false;
  if (auto pieces = PieceChecksums::of(whole); pieces.has_value() && !checksum.empty()) {
    learned_.learn(checksum, std::move(*pieces));
  }
  read.finish_from_whole(whole);
  return true;
}

}  // namespace nbdstack
