// The user's options for a service beyond the requests themselves.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/s3/http/headers.hpp"

namespace nbdstack {

struct ServiceOptions {
  HeaderList headers;          // with every request, signed; names in lower case
  HeaderList put_headers;      // also with every PUT of an object
  HeaderList block_headers;    // also with every PUT of a block of the disk
  HeaderList session_headers;  // with CreateSession, for a directory bucket
  bool http2 = false;          // if the service offers it
  bool hedging = true;         // reads slower than nearly all others are sent a second time
  bool trust_listing = false;  // objects that a listing does not show count as absent
  // For bodies, over all requests together; 0 for no limit.
  std::uint64_t upload_limit_bytes_s = 0;
  std::uint64_t download_limit_bytes_s = 0;
  // Limits the wait of the last writes for a silent service while the server stops; no operation
  // waits longer than its own timeout.
  std::uint64_t stop_timeout_ms = 20'000;
};

// The storage of objects, as headers of requests; empty if not given. The functions throw
// Error(EINVAL) that names the parameter.
struct KeepingOptions {
  std::string storage_class;  // storage-class=, of blocks only
  std::string sse;            // sse=AES256 or aws:kms, or aws:kms:dsse
  std::string sse_kms_key;    // sse-kms-key=, only with one of the aws:kms kinds
  std::string acl;            // acl=, a canned one

  [[nodiscard]] HeaderList put_headers() const;
  [[nodiscard]] HeaderList block_headers() const;

  // Returns the headers for a directory bucket, which takes the encryption when a session begins.
  // It has one storage class and no ACLs: throws as above if the user has given one.
  [[nodiscard]] HeaderList session_headers() const;
};

// Parses "Name: value", the parameter header=. Throws Error(EINVAL) if it is no header, or one that
// the plugin itself sets.
Header parse_header(const std::string& text);

}  // namespace nbdstack
