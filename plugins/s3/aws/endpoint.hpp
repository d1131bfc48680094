// The address of a bucket's objects: an endpoint (scheme, host, port, path) and the place of the
// bucket's name in a request.
//
//   path style     http://HOST:PORT/BASE/BUCKET/KEY    every service understands it; the default
//   virtual host   https://BUCKET.HOST:PORT/BASE/KEY   AWS prefers it
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace nbdstack {

struct Endpoint {
  bool tls = true;
  std::string host;  // a name, an IPv4 address, or an IPv6 address in brackets
  std::uint16_t port = 443;
  std::string base_path;  // "" or "/a/b": no '/' at the end

  // Throws Error(EINVAL) unless the URL is http[s]://HOST[:PORT][/PATH] without a user, query or
  // fragment. The message begins with `source`, the parameter or variable that has the URL.
  static Endpoint parse(const std::string& url, const std::string& source = "endpoint-url");
  // Returns AWS's own: https://s3.REGION.amazonaws.com, or the domain of the region's partition.
  static Endpoint of_region(const std::string& region);

  // Returns this service in another region of the same domain, if AWS names the host by its region
  // (s3.REGION.DOMAIN, s3.dualstack.REGION.DOMAIN, s3-fips.REGION.DOMAIN, s3.DOMAIN ...). Returns
  // nothing for any other host: a service that is not AWS's, or a way to AWS that leads to one
  // region only (a VPC endpoint).
  [[nodiscard]] std::optional<Endpoint> in_region(const std::string& region) const;
};

// Returns nothing if the host is not of these forms, or does not name its region. The bucket may
// stand before it.
std::optional<std::string> region_of_aws_host(const std::string& host);

class BucketAddress {
 public:
  // Throws Error(EINVAL) that names the parameter for a bucket that no request can carry.
  BucketAddress(Endpoint endpoint, std::string bucket, bool virtual_host);

  [[nodiscard]] const std::string& bucket() const { return bucket_; }
  [[nodiscard]] const std::string& host() const { return endpoint_.host; }
  [[nodiscard]] const std::string& base_path() const { return endpoint_.base_path; }
  // Scheme, host and port, without the path: "https://s3.example.com:8443".
  [[nodiscard]] std::string origin() const;
  // Returns the value of the Host header, which has the port only if that is not the scheme's own.
  [[nodiscard]] std::string host_header() const;
  // Returns the plain path (not percent-encoded) of an object, or of the bucket for an empty key.
  [[nodiscard]] std::string path_of(const std::string& key) const;

 private:
  Endpoint endpoint_;
  std::string bucket_;
  bool virtual_host_;
};

}  // namespace nbdstack
