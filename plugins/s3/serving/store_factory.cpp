#include "plugins/s3/serving/store_factory.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/aws/aws_domain.hpp"
#include "plugins/s3/aws/bucket_name.hpp"
#include "plugins/s3/store/directory/directory_store.hpp"
#include "plugins/s3/store/service/bucket_location.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFileScheme = "file://";
constexpr std::string_view kAwsService = "s3";  // AWS's hosts begin with it

// Far longer than writing one object takes: the writer of an older file has ended.
constexpr std::chrono::hours kLeftoverAge{1};

std::string directory_of(const std::string& endpoint_url) {
  std::string directory = endpoint_url.substr(kFileScheme.size());
  if (!directory.starts_with('/')) {
    throw Error(EINVAL,
                fmt::format("endpoint-url: '{}' must name a directory by its absolute path: "
                            "file:///DIR",
                            endpoint_url));
  }
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  return directory;
}

Endpoint endpoint_of(const ConfiguredUrl& configured, const std::string& region) {
  if (configured.url.empty()) return Endpoint::of_region(region);
  return Endpoint::parse(configured.url, configured.source);
}

// A label can be put before a host's name, but not before an address.
bool is_address(std::string_view host) {
  return host.starts_with('[') || host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// Returns https://NAME-ACCOUNT.s3-accesspoint.REGION.DOMAIN, or the configured endpoint.
BucketLocationConfig location_of_access_point(const std::string& arn,
                                              const ConfiguredUrl& configured) {
  const AccessPoint point = parse_access_point(arn);
  Endpoint endpoint = endpoint_of(configured, point.region);
  if (const auto of_aws = endpoint.in_region(point.region)) {
    endpoint = *of_aws;
    endpoint.host.insert(kAwsService.size(), "-accesspoint");
  }
  if (is_address(endpoint.host)) {
    throw Error(EINVAL, fmt::format("bucket: the name of an access point cannot be put before {}: "
                                    "{} must have the name of a host",
                                    endpoint.host, configured.source));
  }
  return {.bucket = point.label(),
          .endpoint = endpoint,
          .virtual_host = true,
          .scope = {.region = point.region},
          .is_fixed = true};
}

// Returns https://BUCKET.s3express-ZONE.REGION.DOMAIN, or the configured endpoint.
BucketLocationConfig location_of_directory_bucket(const StoreSettings& settings,
                                                  const std::string& zone, bool virtual_host,
                                                  const std::string& region,
                                                  const ConfiguredUrl& configured) {
  Endpoint endpoint = endpoint_of(configured, region);
  if (const auto of_aws = endpoint.in_region(region)) {
    endpoint = *of_aws;
    endpoint.host.insert(endpoint.host.find('.'), "-" + zone);  // behind "s3" or "s3-fips"
    endpoint.host.insert(kAwsService.size(), "express");
  }
  return {.bucket = settings.bucket,
          .endpoint = endpoint,
          .virtual_host = virtual_host || !aws_domain_around(endpoint.host).empty(),
          .scope = {.region = region, .service = "s3express"},
          .is_fixed = true};
}

BucketLocationConfig location_of(const StoreSettings& settings, const FoundCredentials& found) {
  const ConfiguredUrl configured = settings.endpoint_url.empty()
                                       ? found.endpoint
                                       : ConfiguredUrl{settings.endpoint_url, "endpoint-url"};
  if (is_arn(settings.bucket)) return location_of_access_point(settings.bucket, configured);
  const bool virtual_host = settings.virtual_host.value_or(found.virtual_host);
  if (const auto zone = zone_of_directory_bucket(settings.bucket)) {
    return location_of_directory_bucket(settings, *zone, virtual_host, found.region, configured);
  }
  return {.bucket = settings.bucket,
          .endpoint = endpoint_of(configured, found.region),
          .virtual_host = virtual_host,
          .scope = {.region = found.region}};
}

std::shared_ptr<ExpressSession> session_for(const StoreSettings& settings,
                                            const Environment& environment) {
  if (!zone_of_directory_bucket(settings.bucket).has_value()) return nullptr;
  if (settings.identity.anonymous) {
    throw Error(EINVAL, "anonymous: a directory bucket is never public, and wants credentials");
  }
  return std::make_shared<ExpressSession>(environment.clock);
}

HttpStoreConfig http_config_of(const StoreSettings& settings, const Environment& environment) {
  FoundCredentials found = find_credentials(settings.identity, environment);
  constexpr std::uint64_t kTimeout_ms_max = std::numeric_limits<std::uint32_t>::max();
  return {.bucket = settings.bucket,
          .location = std::make_shared<BucketLocation>(location_of(settings, found)),
          .credentials = std::move(found.source),
          .session = session_for(settings, environment),
          .connections = settings.connections,
          .timeout_ms = static_cast<std::uint32_t>(std::min(settings.timeout_ms, kTimeout_ms_max)),
          .retries = settings.retries,
          .ca_file = settings.ca_file.empty() ? found.ca_file : settings.ca_file,
          .tls_verify = settings.tls_verify,
          .options = settings.options,
          .stopping = {},
          .may_write = {}};
}

// Returns whether the object can be read although the bucket cannot be listed, as with a public
// image.
bool is_readable(ObjectStore& store, const std::string& key) {
  if (key.empty()) return false;
  try {
    return store.look_up(key).has_value();
  } catch (const Error&) {
    return false;  // the error of the listing has the reason
  }
}

}  // namespace

StoreFactory::StoreFactory(const StoreSettings& settings, const Environment& environment,
                           const Metrics& metrics) {
  if (settings.endpoint_url.starts_with(kFileScheme)) {
    if (is_arn(settings.bucket)) {
      throw Error(EINVAL, "bucket: an ARN names an access point of AWS's, and no directory");
    }
    place_ =
        DirectoryPlace{.directory = directory_of(settings.endpoint_url), .bucket = settings.bucket};
  } else {
    place_ = http_config_of(settings, environment);
    std::get<HttpStoreConfig>(place_).metrics = metrics;
  }
}

std::unique_ptr<ObjectStore> StoreFactory::make_checked(const std::string& key, bool may_create,
                                                        const Waiting& waiting) const {
  if (const auto* place = std::get_if<DirectoryPlace>(&place_)) {
    auto store = std::make_unique<DirectoryStore>(
        place->directory, place->bucket,
        may_create ? DirectoryStore::MissingBucket::create : DirectoryStore::MissingBucket::fail);
    store->remove_leftovers(kLeftoverAge);
    return store;
  }
  auto store = make_http(waiting);
  try {
    // The check lists below the key, because policies may allow no more.
    store->check_bucket(key.empty() || key.ends_with('/') ? key : key + "/");
  } catch (const Error& error) {
    if (error.code() != EACCES || !is_readable(*store, key)) throw;
  }
  return store;
}

std::unique_ptr<ObjectStore> StoreFactory::make(const Waiting& waiting) const {
  if (const auto* place = std::get_if<DirectoryPlace>(&place_)) {
    std::optional<DirectoryStore::WriteRight> right;
    if (waiting.may_write) right = {.may_write = waiting.may_write, .key = waiting.volume_key};
    return std::make_unique<DirectoryStore>(place->directory, place->bucket,
                                            DirectoryStore::MissingBucket::fail, std::move(right));
  }
  return make_http(waiting);
}

std::string StoreFactory::place() const {
  if (const auto* directory = std::get_if<DirectoryPlace>(&place_)) {
    return fmt::format("{}{}/{}", kFileScheme, directory->directory, directory->bucket);
  }
  const auto& config = std::get<HttpStoreConfig>(place_);
  const BucketAddress address = config.location->current()->address;
  return fmt::format("{}{}/{}", address.origin(), address.base_path(), config.bucket);
}

std::chrono::milliseconds StoreFactory::timeout() const {
  const auto* const http = std::get_if<HttpStoreConfig>(&place_);
  return std::chrono::milliseconds(http == nullptr ? 0 : http->timeout_ms);
}

std::unique_ptr<HttpStore> StoreFactory::make_http(const Waiting& waiting) const {
  HttpStoreConfig config = std::get<HttpStoreConfig>(place_);
  config.stopping = waiting.stopping;
  config.may_write = waiting.may_write;
  if (waiting.timeout.has_value()) {
    config.timeout_ms = static_cast<std::uint32_t>(waiting.timeout->count());
    config.time = TransferTime::whole;
    config.options.upload_limit_bytes_s = 0;
    config.options.download_limit_bytes_s = 0;
  }
  return std::make_unique<HttpStore>(config, waiting.clock);
}

}  // namespace nbdstack
