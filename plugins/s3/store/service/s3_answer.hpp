// Judges S3's answers: success, a missing object, or a failure and its kind.
//
// Bytes from the network are data only after judge_whole or judge_part has accepted them, and then
// the object's checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/unexpected_answer.hpp"
#include "plugins/s3/http/http_client.hpp"
#include "plugins/s3/store/object_attributes.hpp"
#include "plugins/s3/store/part_read.hpp"

namespace nbdstack {

// User metadata of every object that we store: XXH3-128 of the body, hex.
inline constexpr std::string_view kChecksumHeader = "x-amz-meta-nbdstack-xxh3";

// Metadata of those that are read in parts: checksums of their pieces (piece_checksums.hpp).
inline constexpr std::string_view kPiecesHeader = "x-amz-meta-nbdstack-pieces";

inline constexpr std::string_view kMetadataPrefix = "x-amz-meta-";

// Returns whether this is a 404 of an S3 service about the key: its code is NoSuchKey, or it has no
// body but the request id that S3 services send.
bool is_missing(const HttpResponse& response);

// Returns what the headers of an answer to a GET contain about the object of `size_bytes`. The
// checksums above are the store's own, and no attributes.
ObjectInfo info_of(const HttpResponse& response, std::uint64_t size_bytes);

// Returns whether the object has a checksum of ours, right or wrong.
bool carries_checksum(const HttpResponse& response);

// Returns the checksums of an object of `object_bytes`. Throws Error(EIO) if they cannot be those
// of such an object.
ObjectChecksums checksums_of(const HttpResponse& response, std::uint64_t object_bytes);

// Returns whether the service does not know such a request, or calls it wrong.
bool calls_request_wrong(const HttpResponse& response);

// Returns the failure for a 200 whose body is not the expected XML document: an error of S3's or a
// truncated document is transient; a body that is no XML comes from something else.
Failure not_the_document(const HttpResponse& response, const char* document);

// Returns the failure for a success whose body is an error of S3's: services send the 200 before
// they know. Returns nothing if `body` is no error, or may be the stored object, which comes with
// an ETag.
std::optional<Failure> error_in_success(const HttpResponse& response, std::string_view body);

// Returns the failure for an answer that contradicts itself: services have been seen to give such
// answers for an object that is replaced while they read it, and these are transient. Returns
// nothing if the headers are consistent.
std::optional<Failure> contradiction_in(const HttpResponse& response);

// Returns the length of the object from the answer to a request for its first byte. Some services
// send more than that byte, even the whole object.
std::optional<std::uint64_t> object_bytes_from_first(const HttpResponse& response);

// Returns nothing if that answer is consistent.
std::optional<Failure> judge_first_byte(const HttpResponse& response);

// Returns whether an error may be about the range only: 416, which is right for an empty object and
// wrong for others, and the ways to call a request wrong or unknown.
bool may_refuse_first_byte(const HttpResponse& response);

// Returns nothing if `body` matches its checksum, or was stored without one. A mismatch is
// transient: the damage may have happened on the way.
std::optional<Failure> verify_checksum(const HttpResponse& response,
                                       std::span<const std::byte> body);

// Verifies all checksums that the object has, for callers that have the time.
std::optional<Failure> verify_all_checksums(const HttpResponse& response,
                                            std::span<const std::byte> body);

// Returns the failure for a mismatch, with this reason.
Failure corrupted(const std::string& reason);

// Returns nothing if the answer is the whole object, with `body` as its body. Ignores checksums.
std::optional<Failure> judge_whole(const HttpResponse& response, std::span<const std::byte> body);

// Returns nothing if the answer is about the object with this ETag, or `etag` is empty.
std::optional<Failure> judge_identity(const HttpResponse& response, const std::string& etag);

// Returns the length of the object, from an answer with the bytes `range` ("0-511") of it.
std::optional<std::uint64_t> object_bytes_of(const HttpResponse& response,
                                             const std::string& range);

// Returns nothing if the answer is exactly the bytes `range`, `length` of them, of an object of
// `object_bytes`.
std::optional<Failure> judge_part(const HttpResponse& response, const std::string& range,
                                  std::size_t length, std::uint64_t object_bytes);

}  // namespace nbdstack
