// The certificate authorities that all connections of a client trust.
//
// libcurl reads and parses some 140 certificates for each connection: 20 ms of CPU. Here they are
// read at the first connection that needs them, and again after the file has been replaced. If it
// cannot be read then, the earlier ones stay in force, and that is logged once.
//
//   connection                          effect
//   the first over TLS                  reads it; fails if the file is missing or has none
//   a later one, with the same file     nothing is read
//   a later one, with another file      reads it; if that fails, the earlier ones stay in force
//
// A libcurl with another TLS library than OpenSSL reads them itself.
//
// Any thread may call.
#pragma once

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <memory>
#include <string>

#include "common/sync/mutex.hpp"

namespace nbdstack {

class TrustedCertificates {
 public:
  // `file` is in PEM format; if empty, libcurl's built-in default is trusted.
  explicit TrustedCertificates(std::string file) : file_(std::move(file)) {}
  TrustedCertificates(const TrustedCertificates&) = delete;
  TrustedCertificates& operator=(const TrustedCertificates&) = delete;

  // Makes the handle's connections trust these. This outlives the handle. Throws Error(EINVAL) if
  // libcurl does not accept that.
  void set_for(CURL* handle);

  // Called for a connection that is about to begin.
  CURLcode give_to(SSL_CTX* context);

  // Returns the fault if a connection could not be given any.
  [[nodiscard]] std::string fault() const;

  // Returns how often they were read.
  [[nodiscard]] unsigned reads() const;

 private:
  struct Free {
    void operator()(X509_STORE* store) const { X509_STORE_free(store); }
  };
  using Store = std::unique_ptr<X509_STORE, Free>;

  static CURLcode on_context(CURL* handle, void* context, void* self) noexcept;
  void read_if_changed() REQUIRES(mutex_);
  [[nodiscard]] Store read() const;

  const std::string file_;
  mutable Mutex mutex_;
  Store store_ GUARDED_BY(mutex_);
  struct stat read_file_ GUARDED_BY(mutex_) {};  // the file's state when it was read
  bool is_in_doubt_ GUARDED_BY(mutex_) = false;  // the present file could not be read
  unsigned reads_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nbdstack
