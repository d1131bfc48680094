// The certificates of authorities: read once for all connections, and again when they are replaced.
#include "plugins/s3/http/trusted_certificates.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>

#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

namespace fs = std::filesystem;
using testing::LogOfErrors;

class TrustedCertificatesTest : public ::testing::Test {
 protected:
  TrustedCertificatesTest() {
    fs::create_directories(directory_);
    path_ = (directory_ / "ca.pem").string();
  }
  ~TrustedCertificatesTest() override { fs::remove_all(directory_); }

  // A new authority, under the same name.
  void write_authority() {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    X509* const certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    const std::string fresh = path_ + ".new";
    FILE* const file = std::fopen(fresh.c_str(), "we");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    fs::rename(fresh, path_);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  static CURLcode connect(TrustedCertificates& certificates) {
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    const CURLcode code = certificates.give_to(context);
    SSL_CTX_free(context);
    return code;
  }

  fs::path directory_ = fs::temp_directory_path() / ("nbdstack-ca-" + std::to_string(getpid()));
  std::string path_;
  LogOfErrors log_;
};

TEST_F(TrustedCertificatesTest, AreReadOnceForAllConnections) {
  write_authority();
  TrustedCertificates certificates(path_);
  EXPECT_EQ(certificates.reads(), 0U);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(connect(certificates), CURLE_OK);
  EXPECT_EQ(certificates.reads(), 1U);
}

TEST_F(TrustedCertificatesTest, AreReadAgainWhenTheFileIsReplaced) {
  write_authority();
  TrustedCertificates certificates(path_);
  connect(certificates);
  write_authority();
  EXPECT_EQ(connect(certificates), CURLE_OK);
  EXPECT_EQ(certificates.reads(), 2U);
}

TEST_F(TrustedCertificatesTest, AFileThatIsNotThereOrHoldsNoneFails) {
  TrustedCertificates certificates(path_);
  EXPECT_EQ(connect(certificates), CURLE_SSL_CACERT_BADFILE);
  EXPECT_NE(certificates.fault().find(path_), std::string::npos);
  std::fclose(std::fopen(path_.c_str(), "we"));
  EXPECT_EQ(connect(certificates), CURLE_SSL_CACERT_BADFILE);
  write_authority();
  EXPECT_EQ(connect(certificates), CURLE_OK);
}

TEST_F(TrustedCertificatesTest, ThoseFromBeforeStayWhereNewOnesCannotBeReadAndThatIsSaidOnce) {
  write_authority();
  TrustedCertificates certificates(path_);
  connect(certificates);
  fs::remove(path_);
  EXPECT_EQ(connect(certificates), CURLE_OK);
  EXPECT_EQ(connect(certificates), CURLE_OK);
  EXPECT_EQ(log_.count({path_, "cannot be read any more"}), 1U);
  write_authority();
  connect(certificates);
  EXPECT_EQ(certificates.reads(), 2U);
}

TEST_F(TrustedCertificatesTest, WithoutAFileThoseOfTheSystemAreTrusted) {
  TrustedCertificates certificates("");
  EXPECT_EQ(connect(certificates), CURLE_OK);
}

}  // namespace
}  // namespace nbdstack
