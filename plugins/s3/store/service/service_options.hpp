// What a user may ask of a service beyond the requests themselves.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/s3/http/headers.hpp"

namespace nbdstack {

struct ServiceOptions {
  HeaderList headers;          // with every request, signed; names in lower case
  HeaderList put_headers;      // with every PUT of an object as well
  HeaderList block_headers;    // the same, of those that hold the disk's blocks
  HeaderList session_headers;  // with CreateSession, for a directory bucket
  bool http2 = false;          // where the service offers it
  bool hedging = true;  // reads that take longer than nearly all others are sent a second time
  bool trust_listing = false;  // what a listing does not show is taken for absent
  // Of bodies, over all requests together; 0: none.
  std::uint64_t upload_limit_bytes_s = 0;
  std::uint64_t download_limit_bytes_s = 0;
  // How long last writes wait for a service that is silent while the server stops; no longer than
  // any operation waits.
  std::uint64_t stop_timeout_ms = 20'000;
};

// The headers that say how objects are to be kept; empty: not said. The functions throw Error(EINVAL)
// that names the parameter.
struct KeepingOptions {
  std::string storage_class;  // storage-class=, of blocks only
  std::string sse;            // sse=AES256 or aws:kms, or aws:kms:dsse
  std::string sse_kms_key;    // sse-kms-key=, only with one of the latter
  std::string acl;            // acl=, a canned one

  [[nodiscard]] HeaderList put_headers() const;
  [[nodiscard]] HeaderList block_headers() const;

  // Of a directory bucket, which is told of encryption when a session begins, and has one storage
  // class and no ACLs. Throws as above for what it does not have.
  [[nodiscard]] HeaderList session_headers() const;
};

// "Name: value" of the parameter header=. Throws Error(EINVAL) where it is none, or one that the
// client sets itself.
Header parse_header(const std::string& text);

}  // namespace nbdstack
