// The settings of AWS's services from the environment and the profile, as the AWS CLI and boto3
// find them: a variable of the environment overrides the profile's setting.
//
//   setting    sources, the first that is set wins
//   profile    the parameter `profile`, AWS_DEFAULT_PROFILE, AWS_PROFILE, "default"
//   region     the parameter `region`, AWS_REGION, AWS_DEFAULT_REGION, `region` of the profile,
//              "us-east-1". The metadata service is not queried for it
//   endpoint   AWS_ENDPOINT_URL_SERVICE, AWS_ENDPOINT_URL, endpoint_url of the service in the
//              [services] that the profile names, endpoint_url of the profile; none of them if
//              AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or its setting is true
//   CA file    AWS_CA_BUNDLE, ca_bundle of the profile
//
// The files are read once, by the constructor. In a chain of roles the settings of the profile that
// begins it apply to all requests, as with boto3.
#pragma once

#include <chrono>
#include <string>

#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/shared_config.hpp"

namespace nbdstack {

struct ConfiguredUrl {
  std::string url;     // empty if none is configured
  std::string source;  // "AWS_ENDPOINT_URL_S3", for messages
};

class AwsSettings {
 public:
  // Exceptions of SharedConfig::read() propagate. A profile that neither file has is no error here.
  AwsSettings(const Environment& environment, const CredentialParameters& parameters);
  AwsSettings(const AwsSettings&) = delete;
  AwsSettings& operator=(const AwsSettings&) = delete;

  // Requests made through these trust ca_file().
  [[nodiscard]] const Environment& environment() const { return environment_; }
  [[nodiscard]] const SharedConfig& config() const { return config_; }
  [[nodiscard]] const std::string& profile_name() const { return profile_name_; }
  // Null if neither file has the profile.
  [[nodiscard]] const Profile* profile() const { return profile_; }
  [[nodiscard]] const std::string& region() const { return region_; }
  // Empty for the system's.
  [[nodiscard]] const std::string& ca_file() const { return ca_file_; }

  // Returns the value of `variable`, or else of the profile's setting; empty if neither is set. If
  // `variable` is empty, the profile alone counts.
  [[nodiscard]] std::string setting(const std::string& variable,
                                    const std::string& lower_case_name) const;
  // Returns whether setting() is "true", in upper or lower case.
  [[nodiscard]] bool is_true(const std::string& variable, const std::string& lower_case_name) const;
  // `service` is in lower case, with '_': "s3", "sso_oidc".
  [[nodiscard]] ConfiguredUrl endpoint_url(const std::string& service) const;
  // Returns whether AWS_USE_FIPS_ENDPOINT or use_fips_endpoint is true. A configured endpoint
  // overrides that.
  [[nodiscard]] bool uses_fips() const;
  // Returns endpoint_url("s3"), or else an endpoint of AWS that was chosen in place of
  // https://s3.REGION.DOMAIN: that of FIPS, or of both IPv4 and IPv6 (AWS_USE_DUALSTACK_ENDPOINT,
  // use_dualstack_endpoint, by itself or under `s3` in the profile). Empty if none was.
  [[nodiscard]] ConfiguredUrl s3_endpoint_url() const;
  // Returns whether addressing_style under `s3` in the profile is "virtual".
  [[nodiscard]] bool s3_is_virtual_host() const;

 private:
  Environment environment_;
  SharedConfig config_;
  std::string profile_name_;
  const Profile* profile_ = nullptr;
  std::string region_;
  std::string ca_file_;
};

// The timeouts and retries of requests to services other than S3: a request is sent four times at
// most within 20 seconds, if its failure may pass (retry.hpp).
inline ExchangeOptions service_exchange() {
  return {.connect_timeout = std::chrono::milliseconds(3'000),
          .timeout = std::chrono::milliseconds(10'000)};
}
inline constexpr RetryPolicy kServicePatience{.retries = 3, .timeout = std::chrono::seconds(20)};

struct ServiceAddress {
  std::string origin;  // "https://sts.eu-west-1.amazonaws.com"
  std::string host;    // with a port, if the URL has one
  std::string path;    // plain, begins and ends with '/'
};

// Returns the address of `endpoint_url(service)`, or else https://LABEL.REGION.DOMAIN, with
// LABEL-fips if uses_fips(). Throws Error(EINVAL) for a bad URL, which names its source.
ServiceAddress service_address(const AwsSettings& settings, const std::string& service,
                               const std::string& label, const std::string& region);
// Returns the address of a configured URL. Throws as above.
ServiceAddress service_address(const ConfiguredUrl& configured);

}  // namespace nbdstack
