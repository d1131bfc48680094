// AWS Signature Version 4, as S3 requires it, as pure functions: request, credentials and time in,
// headers out.
//
// The algorithm is AWS's "Create a signed AWS API request" with S3's two exceptions: a path is
// encoded once and never normalised ("//" and ".." are legal in keys), and the hash of the payload
// travels as x-amz-content-sha256. Paths, query and headers are given in plain form; the encoded
// form that is signed is also the one to send (encode_path, encode_query), so that the two cannot
// differ.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/wall_time.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/http/headers.hpp"

namespace nbdstack {

using QueryList = std::vector<std::pair<std::string, std::string>>;

struct SignableRequest {
  std::string method;
  std::string path;  // plain, begins with '/'
  QueryList query;   // plain, in any order
  HeaderList headers;
  std::string payload_sha256;  // 64 hex digits
};

struct SigningScope {
  std::string region;
  std::string service = "s3";
  std::string token_header = "x-amz-security-token";  // for a session token
};

// Every byte but A-Z a-z 0-9 - . _ ~ becomes %XX.
std::string uri_encode(std::string_view text);
// As uri_encode(), but '/' stays.
std::string encode_path(std::string_view path);
// Returns name=value pairs, encoded and in the signature's order; "name=" if the value is empty.
std::string encode_query(const QueryList& query);

// Returns the text whose hash is signed.
std::string canonical_request(const SignableRequest& request);
// Returns the value of the Authorization header, over exactly the headers of `request` (x-amz-date
// must be one of them).
std::string authorization(const SignableRequest& request, const Credentials& credentials,
                          const SigningScope& scope, WallTime time);

// Returns the request's headers, which must have "host", with those that S3 requires: x-amz-date,
// x-amz-content-sha256, the session token (if there is one) and authorization.
HeaderList signed_headers(SignableRequest request, const Credentials& credentials,
                          const SigningScope& scope, WallTime time);

}  // namespace nbdstack
