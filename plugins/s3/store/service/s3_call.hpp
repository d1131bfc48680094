// One operation's request with what its attempts leave behind; and what the parts that it passes on
// its way to the service (call_stack.hpp) demand of those below them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/hash/digest.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/service/bucket_location.hpp"
#include "plugins/s3/store/service/s3_operation.hpp"

namespace nbdstack {

struct S3Call {
  const S3Operation& operation;
  std::string key{};  // of an object
  QueryList query{};  // besides the operation's own
  HeaderList headers{};
  std::span<const std::byte> body{};
  std::string payload_sha256 = to_hex(sha256({}));

  // For the body of an answer with the status operation.done; every other body is kept as text.
  std::optional<std::span<std::byte>> buffer{};
  std::size_t text_limit = std::size_t{64} << 10U;  // as in HttpRequest
  bool fresh_connection = false;                    // the same
  // An attempt that has arrived, and was not answered in time, is the last one: was_given_up.
  bool ends_when_given_up = false;
  Retrier* retrier = nullptr;  // instead of the store's
  Doubt* doubt = nullptr;      // the caller's: set where an attempt can have arrived
  // Judges the answers that the operation's row names: nothing if it is what was wanted.
  std::function<std::optional<Failure>(const HttpResponse&)> judge{};
  std::string name{};  // for messages: "GET s3://BUCKET/KEY"

  // Left by the attempts.
  bool is_absent = false;  // the object that was to be read, replaced or removed
  bool was_given_up = false;
  bool in_doubt = false;  // whether the service did what it was asked: an attempt left that open

  // Left by the last sending, for the parts that it comes back to.
  std::shared_ptr<const BucketPlace> place{};
  Credentials credentials{};
  std::string token_header = SigningScope().token_header;
  std::optional<HttpOutcome> outcome{};
  std::int64_t clock_ahead_s = 0;

  // The object must have this ETag, or any if it is empty.
  void require(const std::string& etag) {
    if (!etag.empty()) headers.emplace_back(std::string(operation.condition), etag);
  }
  [[nodiscard]] const HttpResponse* response() const {
    return outcome.has_value() ? std::get_if<HttpResponse>(&*outcome) : nullptr;
  }
};

struct CallLimits {
  TimePoint deadline{};             // of an attempt; put off while it gets on
  std::function<bool()> is_over{};  // as in HttpRequest, these three
  std::function<bool()> may_send{};
  std::function<void()> got_on{};
};

// Performs a call, or an attempt at it. Returns nothing on success, else why the attempt failed.
// Throws Error if no other attempt is of use.
using PerformCall = std::function<std::optional<Failure>(S3Call&, const CallLimits&)>;

}  // namespace nbdstack
