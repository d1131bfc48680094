// What an answer of S3's means: success, a missing object, or a failure and of which kind.
//
// Nothing that came over the network is taken for data before one of judge_whole and judge_part has
// accepted it, and then the checksums that the object carries.
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

// And of those whose parts are read: checksums of its pieces (piece_checksums.hpp).
inline constexpr std::string_view kPiecesHeader = "x-amz-meta-nbdstack-pieces";

inline constexpr std::string_view kMetadataPrefix = "x-amz-meta-";

// A 404 that comes from an S3 service and is about the key: it says NoSuchKey, or it has no body
// but the request id that S3 services give.
bool is_missing(const HttpResponse& response);

// What the headers of an answer to a GET tell of the object, which is `size_bytes` long. The
// checksums above are the store's own, and no attributes.
ObjectInfo info_of(const HttpResponse& response, std::uint64_t size_bytes);

// The object carries a checksum of ours, be it right or wrong.
bool carries_checksum(const HttpResponse& response);

// The checksums that an object of `object_bytes` carries. Throws Error(EIO) where they are none of
// such an object.
ObjectChecksums checksums_of(const HttpResponse& response, std::uint64_t object_bytes);

// The service does not know such a request, or says that it is wrong.
bool calls_request_wrong(const HttpResponse& response);

// The failure that an answer of 200 is whose body is not the XML document that was to come: an error
// of S3's, or a document that was cut, may pass; what is no XML comes from something else.
Failure not_the_document(const HttpResponse& response, const char* document);

// The failure that an answer of success is whose body is an error of S3's: services say 200 before
// they know. `body` is what came. Nothing where it is none, or could be what was stored: an object
// comes with an ETag.
std::optional<Failure> error_in_success(const HttpResponse& response, std::string_view body);

// The failure that an answer is which says of itself what cannot be at the same time: an object that
// is replaced while a service reads it has been seen to give such answers, which pass. Nothing where
// it is sound as far as its headers tell.
std::optional<Failure> contradiction_in(const HttpResponse& response);

// How long the object is of which the answer to a request for its first byte tells: that byte, or
// more from the first one on, even all of it, as some services have it.
std::optional<std::uint64_t> object_bytes_from_first(const HttpResponse& response);

// Nothing if that can be believed.
std::optional<Failure> judge_first_byte(const HttpResponse& response);

// Whether an error may be about the range only: 416, which is right of an empty object and wrong of
// others, and the ways to call a request wrong or unknown.
bool may_refuse_first_byte(const HttpResponse& response);

// Nothing if `body` is what was stored, or was stored without a checksum. A mismatch may pass: the
// damage may have happened on the way.
std::optional<Failure> verify_checksum(const HttpResponse& response,
                                       std::span<const std::byte> body);

// The same by all checksums that the object carries, for who has the time.
std::optional<Failure> verify_all_checksums(const HttpResponse& response,
                                            std::span<const std::byte> body);

// A mismatch, in these words.
Failure corrupted(const std::string& reason);

// Nothing if the answer is the whole object and `body` holds it; its checksums are not looked at.
std::optional<Failure> judge_whole(const HttpResponse& response, std::span<const std::byte> body);

// Nothing if the answer is about the object of this ETag, or `etag` is empty.
std::optional<Failure> judge_identity(const HttpResponse& response, const std::string& etag);

// How long the object is of which the answer says that it holds the bytes `range` ("0-511").
std::optional<std::uint64_t> object_bytes_of(const HttpResponse& response,
                                             const std::string& range);

// Nothing if the answer is exactly the bytes `range`, `length` of them, of an object that is
// `object_bytes` long.
std::optional<Failure> judge_part(const HttpResponse& response, const std::string& range,
                                  std::size_t length, std::uint64_t object_bytes);

}  // namespace nbdstack
