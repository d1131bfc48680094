// The address to which requests to a bucket are sent, and the region for which they are signed, as
// far as the service's answers have shown it.
//
//   state    source of the place                    ends
//   given    parameters, environment and profile    with an answer that names the bucket's region
//   learnt   an answer that named the region        with the process: a further redirect is an
//                                                   error that recommends region=
//   fixed    the bucket's own name (an ARN): a      never
//            redirect is an error
//
// Answers that name the region: 301, 302, 307, 308; 400 AuthorizationHeaderMalformed and
// IllegalLocationConstraintException; 400 and 403 whose x-amz-bucket-region is not the region that
// the request was sent to. The region stands in x-amz-bucket-region, in <Region>, or in the host of
// <Endpoint> or Location. These are the cases of botocore's S3RegionRedirectorv2.
//
// Credentials are sent to the service's own hosts only. No host is ever taken from an answer: if
// ours is one that AWS names by its region, the new one is made of the region; otherwise it stays
// the same, and only the signature's region changes. An answer that names a host of another
// service, or a region of another partition, is refused with an error that names the reason.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/sync/mutex.hpp"
#include "plugins/s3/aws/endpoint.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

struct BucketPlace {
  BucketAddress address;
  SigningScope scope;
};

struct BucketLocationConfig {
  std::string bucket;
  Endpoint endpoint;
  bool virtual_host = false;
  SigningScope scope;
  bool is_fixed = false;
};

// May be used by any thread. All stores of a process over the same bucket share one.
class BucketLocation {
 public:
  // Throws Error(EINVAL) for a name that no bucket can have.
  explicit BucketLocation(const BucketLocationConfig& config);

  [[nodiscard]] std::shared_ptr<const BucketPlace> current() const;

  // Takes the answer to a request to `asked`. Returns true if the bucket is elsewhere, and the
  // request is to be repeated to current().
  bool learn(const BucketPlace& asked, const HttpResponse& response);

  // Returns why learn() did not follow a redirect; nothing if the answer is none.
  [[nodiscard]] std::optional<std::string> refusal(const BucketPlace& asked,
                                                   const HttpResponse& response) const;

 private:
  struct Direction;  // where an answer redirects to

  static std::optional<Direction> direction_in(const BucketPlace& asked,
                                               const HttpResponse& response);
  // Returns the place to redirect to; nothing, and sets `why_not`, if it is refused.
  std::optional<BucketPlace> place_of(const BucketPlace& asked, const Direction& direction,
                                      std::string& why_not) const;
  [[nodiscard]] std::string home_region() const;
  [[nodiscard]] bool is_of_service(const std::string& authority) const;

  const BucketLocationConfig config_;
  mutable Mutex mutex_;
  std::shared_ptr<const BucketPlace> place_ GUARDED_BY(mutex_);
  bool is_learnt_ GUARDED_BY(mutex_) = false;
};

}  // namespace nbdstack
