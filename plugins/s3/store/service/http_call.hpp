// The inside of HttpStore, shared by the files that implement it: http_store.cpp (how requests are
// sent; whole reads and listings), http_store_sending.cpp (where they go and as whom),
// http_store_parts.cpp (reads of parts) and http_store_changes.cpp (puts and removals).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/hash/digest.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/store/service/bucket_location.hpp"
#include "plugins/s3/store/service/http_store.hpp"

namespace nbdstack {

// One operation's request. It is signed and sent as often as there are attempts.
struct HttpStore::Call {
  std::string method;
  std::string key;  // empty: the bucket itself
  QueryList query{};
  HeaderList headers{};
  std::span<const std::byte> body{};
  std::string payload_sha256 = to_hex(sha256({}));

  int buffer_status = 0;  // these three as in HttpRequest
  std::span<std::byte> buffer{};
  std::size_t text_limit = std::size_t{64} << 10U;
  bool fresh_connection = false;
  // An attempt that has arrived, and was not answered in time, is the last one: was_given_up.
  bool ends_when_given_up = false;

  [[nodiscard]] bool changes_something() const { return method != "GET" && method != "HEAD"; }

  ShutdownGrace::Operation operation{};  // set when the call begins
  // These four: where the last attempt went, and what it was signed with.
  std::shared_ptr<const BucketPlace> place{};
  std::int64_t clock_offset_s = 0;
  Credentials credentials{};
  bool is_in_session = false;  // the credentials are a session's (express_session.hpp)
  bool was_given_up = false;
  // An attempt failed in a way that leaves open whether the service did what it was asked.
  bool in_doubt = false;
  Doubt* doubt = nullptr;  // the caller's: set with the above where the request can have arrived
};

}  // namespace nbdstack
