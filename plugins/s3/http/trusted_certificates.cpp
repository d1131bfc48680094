#include "plugins/s3/http/trusted_certificates.hpp"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

const char* or_none(const char* text) {
  return text != nullptr && *text != '\0' ? text : nullptr;
}

bool is_same(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino && one.st_size == other.st_size &&
         one.st_mtim.tv_sec == other.st_mtim.tv_sec && one.st_mtim.tv_nsec == other.st_mtim.tv_nsec;
}

// Returns the given file, or else libcurl's built-in one, where the distribution keeps them.
std::string file_of(const std::string& given) {
  if (!given.empty()) return given;
  const char* const built_in = or_none(curl_version_info(CURLVERSION_NOW)->cainfo);
  return built_in != nullptr ? built_in : "";
}

}  // namespace

void TrustedCertificates::set_for(CURL* handle) {
  if (curl_easy_setopt(handle, CURLOPT_SSL_CTX_FUNCTION, on_context) != CURLE_OK) {
    if (!file_.empty() && curl_easy_setopt(handle, CURLOPT_CAINFO, file_.c_str()) != CURLE_OK) {
      throw Error(EINVAL, "libcurl cannot be told which certificates to trust");
    }
    return;
  }
  curl_easy_setopt(handle, CURLOPT_SSL_CTX_DATA, this);
  // libcurl itself reads none.
  curl_easy_setopt(handle, CURLOPT_CAINFO, nullptr);
  curl_easy_setopt(handle, CURLOPT_CAPATH, nullptr);
}

std::string TrustedCertificates::fault() const {
  return fmt::format("no certificates of authorities can be read from {}", file_of(file_));
}

unsigned TrustedCertificates::reads() const {
  const MutexLock lock(mutex_);
  return reads_;
}

CURLcode TrustedCertificates::on_context(CURL* /*handle*/, void* context, void* self) noexcept {
  try {
    return static_cast<TrustedCertificates*>(self)->give_to(static_cast<SSL_CTX*>(context));
  } catch (...) {
    return CURLE_OUT_OF_MEMORY;
  }
}

CURLcode TrustedCertificates::give_to(SSL_CTX* context) {
  const MutexLock lock(mutex_);
  read_if_changed();
  if (store_ == nullptr) return CURLE_SSL_CACERT_BADFILE;
  SSL_CTX_set1_cert_store(context, store_.get());
  return CURLE_OK;
}

void TrustedCertificates::read_if_changed() {
  const std::string path = file_of(file_);
  struct stat now {};
  const bool is_there = path.empty() || stat(path.c_str(), &now) == 0;
  if (store_ != nullptr && is_there && is_same(now, read_file_)) return;
  Store fresh = is_there ? read() : nullptr;
  if (fresh != nullptr) {
    store_ = std::move(fresh);
    read_file_ = now;
    is_in_doubt_ = false;
    ++reads_;
  } else if (store_ != nullptr && !std::exchange(is_in_doubt_, true)) {
    log::error(
        "{}: the certificates in it cannot be read any more: those that were read before "
        "are still trusted",
        path);
  }
}

// With the flags that libcurl sets: an intermediate authority may be trusted by itself.
TrustedCertificates::Store TrustedCertificates::read() const {
  Store store(X509_STORE_new());
  if (store == nullptr) throw Error(ENOMEM, "out of memory for certificates");
  const std::string path = file_of(file_);
  bool is_read = true;
  if (path.empty()) {
    is_read = X509_STORE_set_default_paths(store.get()) == 1;
  } else {
    is_read = X509_STORE_load_file(store.get(), path.c_str()) == 1;
  }
  const char* const directory = or_none(curl_version_info(CURLVERSION_NOW)->capath);
  if (is_read && file_.empty() && directory != nullptr) {
    is_read = X509_STORE_load_path(store.get(), directory) == 1;
  }
  ERR_clear_error();  // or the next user of OpenSSL in this thread takes it for its own
  if (!is_read) return nullptr;
  X509_STORE_set_flags(store.get(), X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
  return store;
}

}  // namespace nbdstack
