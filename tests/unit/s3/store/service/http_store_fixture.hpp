// A store over a service that answers what the test has written down; it tries again as it does by
// default, and its clock takes no time.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "common/error.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"

namespace nbdstack::testing {

inline const std::string kBody = "12345678";
inline const std::span<const std::byte> kBytes = std::as_bytes(std::span(kBody));

// Bucket "disk" of the service at `url`.
inline std::shared_ptr<BucketLocation> disk_at(const std::string& url) {
  return std::make_shared<BucketLocation>(BucketLocationConfig{
      .bucket = "disk", .endpoint = Endpoint::parse(url), .scope = {.region = "us-east-1"}});
}

class HttpStoreFixture : public ::testing::Test {
 protected:
  HttpStoreFixture() {
    config.bucket = "disk";
    place.bucket = "disk";
    place.endpoint = Endpoint::parse(server.url());
    place.scope.region = "us-east-1";
    config.location = std::make_shared<BucketLocation>(place);
    config.credentials = std::make_shared<CredentialSource>(Credentials{"KEY", "SECRET", ""});
  }

  // Made at its first use, when the test has changed the configuration.
  HttpStore& store() {
    if (!store_) store_ = make_store();
    return *store_;
  }

  // One that knows of the bucket's place what `place` says.
  std::unique_ptr<HttpStore> make_store() {
    config.location = std::make_shared<BucketLocation>(place);
    return std::make_unique<HttpStore>(config, clock);
  }

  int errno_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      message = error.what();
      return error.code();
    }
    return 0;
  }

  FakeClock clock;
  ScriptedHttpServer server;
  BucketLocationConfig place;
  HttpStoreConfig config;
  std::array<std::byte, 8> body{};
  std::string message;

 private:
  std::unique_ptr<HttpStore> store_;
};

}  // namespace nbdstack::testing
