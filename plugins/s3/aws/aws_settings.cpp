#include "plugins/s3/aws/aws_settings.hpp"

#include <fmt/core.h>

#include <utility>

#include "plugins/s3/aws/aws_domain.hpp"
#include "plugins/s3/aws/endpoint.hpp"

namespace nbdstack {
namespace {

constexpr const char* kDefaultRegion = "us-east-1";

std::string name_of_profile(const Environment& environment,
                            const CredentialParameters& parameters) {
  std::string name = parameters.profile;
  if (name.empty()) name = environment.variable("AWS_DEFAULT_PROFILE");
  if (name.empty()) name = environment.variable("AWS_PROFILE");
  return name.empty() ? "default" : name;
}

std::string upper_case(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

}  // namespace

AwsSettings::AwsSettings(const Environment& environment, const CredentialParameters& parameters)
    : environment_(environment),
      config_(SharedConfig::read(environment)),
      profile_name_(name_of_profile(environment, parameters)),
      profile_(config_.find(profile_name_)),
      region_(parameters.region),
      ca_file_(environment.expand_home(setting("AWS_CA_BUNDLE", "ca_bundle"))) {
  if (region_.empty()) region_ = environment.variable("AWS_REGION");
  if (region_.empty()) region_ = setting("AWS_DEFAULT_REGION", "region");
  if (region_.empty()) region_ = kDefaultRegion;
  environment_.exchange = [exchange = environment.exchange, ca_file = ca_file_](
                              const HttpRequest& request, ExchangeOptions options) {
    options.ca_file = ca_file;
    return exchange(request, options);
  };
}

std::string AwsSettings::setting(const std::string& variable,
                                 const std::string& lower_case_name) const {
  std::string value = variable.empty() ? std::string() : environment_.variable(variable);
  if (value.empty() && profile_ != nullptr) value = profile_->setting(lower_case_name);
  return value;
}

bool AwsSettings::is_true(const std::string& variable, const std::string& lower_case_name) const {
  return in_lower_case(setting(variable, lower_case_name)) == "true";
}

ConfiguredUrl AwsSettings::endpoint_url(const std::string& service) const {
  if (is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls")) return {};
  for (const std::string& name :
       {"AWS_ENDPOINT_URL_" + upper_case(service), std::string("AWS_ENDPOINT_URL")}) {
    const std::string url = environment_.variable(name);
    if (!url.empty()) return {url, name};
  }
  if (profile_ == nullptr) return {};
  return {config_.service_setting(*profile_, service, "endpoint_url"),
          fmt::format("endpoint_url of profile \"{}\"", profile_name_)};
}

bool AwsSettings::uses_fips() const {
  return is_true("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
}

ConfiguredUrl AwsSettings::s3_endpoint_url() const {
  ConfiguredUrl configured = endpoint_url("s3");
  const bool is_dualstack = is_true("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint") ||
                            is_true("", "s3.use_dualstack_endpoint");
  if (!configured.url.empty() || (!uses_fips() && !is_dualstack)) return configured;
  return {fmt::format("https://s3{}{}.{}.{}", uses_fips() ? "-fips" : "",
                      is_dualstack ? ".dualstack" : "", region_, aws_domain_of(region_)),
          "region"};
}

bool AwsSettings::s3_is_virtual_host() const {
  return setting("", "s3.addressing_style") == "virtual";
}

ServiceAddress service_address(const AwsSettings& settings, const std::string& service,
                               const std::string& label, const std::string& region) {
  const ConfiguredUrl configured = settings.endpoint_url(service);
  if (!configured.url.empty()) return service_address(configured);
  return service_address(
      {fmt::format("https://{}{}.{}.{}", label, settings.uses_fips() ? "-fips" : "", region,
                   aws_domain_of(region)),
       "region"});
}

ServiceAddress service_address(const ConfiguredUrl& configured) {
  const Endpoint endpoint = Endpoint::parse(configured.url, configured.source);
  const std::size_t host_begin = configured.url.find("//") + 2;
  const std::string origin = configured.url.substr(0, configured.url.find('/', host_begin));
  return {origin, origin.substr(host_begin), endpoint.base_path + "/"};
}

}  // namespace nbdstack
