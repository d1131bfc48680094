// The settings of AWS's services from the environment and the profile, as the AWS CLI and boto3
// find them: a variable of the environment overrides the profile's setting.
//
//   which profile   the parameter `profile`, AWS_DEFAULT_PROFILE, AWS_PROFILE, "default"
//   which region    the parameter `region`, AWS_REGION, AWS_DEFAULT_REGION, `region` of the profile,
//                   "us-east-1". The metadata service is not asked for it
//   which endpoint  AWS_ENDPOINT_URL_SERVICE, AWS_ENDPOINT_URL, endpoint_url of the service in the
//                   [services] that the profile names, endpoint_url of the profile; none of them
//                   if AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or its setting is true
//   which CA file   AWS_CA_BUNDLE, ca_bundle of the profile
//
// The files are read once, by the constructor. In a chain of roles all requests go by the settings
// of the profile that begins it, as with boto3.
#pragma once

#include <chrono>
#include <string>

#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/shared_config.hpp"

namespace nbdstack {

struct ConfiguredUrl {
  std::string url;     // empty: none
  std::string source;  // "AWS_ENDPOINT_URL_S3", for messages
};

class AwsSettings {
 public:
  // Throws what SharedConfig::read() throws. A profile that neither file has is no error here.
  AwsSettings(const Environment& environment, const CredentialParameters& parameters);
  AwsSettings(const AwsSettings&) = delete;
  AwsSettings& operator=(const AwsSettings&) = delete;

  // Requests made through these trust ca_file().
  [[nodiscard]] const Environment& environment() const { return environment_; }
  [[nodiscard]] const SharedConfig& config() const { return config_; }
  [[nodiscard]] const std::string& profile_name() const { return profile_name_; }
  [[nodiscard]] const Profile* profile() const { return profile_; }  // null: neither file has it
  [[nodiscard]] const std::string& region() const { return region_; }
  [[nodiscard]] const std::string& ca_file() const { return ca_file_; }  // empty: the system's

  // Empty where neither says anything. `variable` may be empty: the profile alone counts.
  [[nodiscard]] std::string setting(const std::string& variable,
                                    const std::string& lower_case_name) const;
  // Whether that is "true", in any case of the letters.
  [[nodiscard]] bool is_true(const std::string& variable, const std::string& lower_case_name) const;
  // `service` in lower case, with '_': "s3", "sso_oidc".
  [[nodiscard]] ConfiguredUrl endpoint_url(const std::string& service) const;
  // Whether AWS_USE_FIPS_ENDPOINT or use_fips_endpoint is true, which counts where no endpoint is
  // configured.
  [[nodiscard]] bool uses_fips() const;
  // endpoint_url("s3"), else AWS's endpoint where it is another than https://s3.REGION.DOMAIN: that
  // of FIPS, or of both IPv4 and IPv6 (AWS_USE_DUALSTACK_ENDPOINT, use_dualstack_endpoint, by
  // itself or under `s3` in the profile). Empty: the usual one.
  [[nodiscard]] ConfiguredUrl s3_endpoint_url() const;
  // Whether addressing_style under `s3` in the profile is "virtual".
  [[nodiscard]] bool s3_is_virtual_host() const;

 private:
  Environment environment_;
  SharedConfig config_;
  std::string profile_name_;
  const Profile* profile_ = nullptr;
  std::string region_;
  std::string ca_file_;
};

// Where a service other than S3 is asked, and with how much patience: what may pass (retry.hpp) is
// tried four times within 20 seconds.
inline ExchangeOptions service_exchange() {
  return {.connect_timeout = std::chrono::milliseconds(3'000),
          .timeout = std::chrono::milliseconds(10'000)};
}
inline constexpr RetryPolicy kServicePatience{.retries = 3, .timeout = std::chrono::seconds(20)};

struct ServiceAddress {
  std::string origin;  // "https://sts.eu-west-1.amazonaws.com"
  std::string host;    // what follows the scheme
  std::string path;    // plain, begins and ends with '/'
};

// That of `endpoint_url(service)`, else https://LABEL.REGION.DOMAIN, or LABEL-fips with
// uses_fips(). Throws Error(EINVAL) that names where a bad URL stands.
ServiceAddress service_address(const AwsSettings& settings, const std::string& service,
                               const std::string& label, const std::string& region);
// The same for a URL.
ServiceAddress service_address(const ConfiguredUrl& configured);

}  // namespace nbdstack
