// Where a bucket's objects are: an endpoint (scheme, host, port, path) and how the bucket is named
// in a request.
//
//   path style     http://HOST:PORT/BASE/BUCKET/KEY    what every service understands; the default
//   virtual host   https://BUCKET.HOST:PORT/BASE/KEY   what AWS prefers
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

  // Throws Error(EINVAL) unless the URL is http[s]://HOST[:PORT][/PATH] with nothing else in it: no
  // user, query or fragment. The message begins with `source`, where the URL stands.
  static Endpoint parse(const std::string& url, const std::string& source = "endpoint-url");
  // AWS's own: https://s3.REGION.amazonaws.com, or the domain of the region's partition.
  static Endpoint of_region(const std::string& region);

  // The same service in another region of the same domain, where this is a host that AWS names by
  // its region (s3.REGION.DOMAIN, s3.dualstack.REGION.DOMAIN, s3-fips.REGION.DOMAIN, s3.DOMAIN
  // ...). Nothing for every other one: a service of somebody else's, or a way to AWS that leads to
  // one region only (a VPC endpoint).
  [[nodiscard]] std::optional<Endpoint> in_region(const std::string& region) const;
};

// Nothing where the host is not of these forms, or does not name its region. The bucket may stand
// before it.
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
  // The value of the Host header: the port is there only when it is not the scheme's own.
  [[nodiscard]] std::string host_header() const;
  // The plain path (not percent-encoded) of an object, or of the bucket for an empty key.
  [[nodiscard]] std::string path_of(const std::string& key) const;

 private:
  Endpoint endpoint_;
  std::string bucket_;
  bool virtual_host_;
};

}  // namespace nbdstack
