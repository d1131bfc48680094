// Where the requests to a bucket go and what they are signed for, and what the service's answers
// teach of that.
//
//   state    the place is                                      ends
//   given    what parameters, environment and profile say      with an answer that names the bucket's
//                                                              region
//   learnt   in the region that an answer named                with the process: what sends us on from
//                                                              there is an error that says region=
//   fixed    what the bucket's own name says (an ARN): what    never
//            sends us elsewhere is an error
//
// Answers that name the region: 301, 302, 307, 308; 400 AuthorizationHeaderMalformed and
// IllegalLocationConstraintException; 400 and 403 whose x-amz-bucket-region is not the region that
// was asked. The region stands in x-amz-bucket-region, in <Region>, or in the host of <Endpoint> or
// Location. These are the cases of botocore's S3RegionRedirectorv2.
//
// Credentials go to the service's own hosts alone. No host is ever taken from an answer: where ours
// is one that AWS names by its region, the new one is made of the region; elsewhere it stays the
// same, and the region is that of the signature. An answer that names a host of another service, or
// a region of another partition, is refused with an error that says so.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

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

// Any thread. One for all stores of a process over the same bucket.
class BucketLocation {
 public:
  // Throws Error(EINVAL) for a bucket that cannot be.
  explicit BucketLocation(const BucketLocationConfig& config);

  [[nodiscard]] std::shared_ptr<const BucketPlace> current() const;

  // The answer to a request to `asked`. True: the bucket is elsewhere, which is known now, and the
  // same request to current() is worth it.
  bool learn(const BucketPlace& asked, const HttpResponse& response);

  // What is wrong with an answer that sends us elsewhere, where learn() did not follow it; nothing
  // where it does not.
  [[nodiscard]] std::optional<std::string> refusal(const BucketPlace& asked,
                                                   const HttpResponse& response) const;

 private:
  struct Direction;  // what an answer says

  static std::optional<Direction> direction_in(const BucketPlace& asked,
                                               const HttpResponse& response);
  // Where that leads; nothing, and `why_not`, where we do not go.
  std::optional<BucketPlace> place_of(const BucketPlace& asked, const Direction& direction,
                                      std::string& why_not) const;
  [[nodiscard]] std::string home_region() const;
  [[nodiscard]] bool is_of_service(const std::string& authority) const;

  const BucketLocationConfig config_;
  mutable std::mutex mutex_;  // protects what follows
  std::shared_ptr<const BucketPlace> place_;
  bool is_learnt_ = false;
};

}  // namespace nbdstack
