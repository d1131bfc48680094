#include "plugins/s3/store_factory.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/directory_store.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFileScheme = "file://";

// Far longer than writing one object takes: whoever wrote it is gone.
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

HttpStoreConfig http_config_of(const StoreSettings& settings, const Surroundings& surroundings) {
  FoundCredentials found = find_credentials(settings.identity, surroundings);
  const auto given_or = [](const std::string& given, const std::string& found_there) {
    return given.empty() ? found_there : given;
  };
  const std::string url = given_or(settings.endpoint_url, found.endpoint_url);
  constexpr std::uint64_t kTimeout_ms_max = std::numeric_limits<std::uint32_t>::max();
  BucketLocationConfig location{
      .bucket = settings.bucket,
      .endpoint = url.empty() ? Endpoint::of_region(found.region) : Endpoint::parse(url),
      .virtual_host = settings.virtual_host || found.virtual_host,
      .scope = {.region = found.region}};
  return {.bucket = settings.bucket,
          .location = std::make_shared<BucketLocation>(location),
          .credentials = std::move(found.source),
          .connections = settings.connections,
          .timeout_ms = static_cast<std::uint32_t>(std::min(settings.timeout_ms, kTimeout_ms_max)),
          .retries = settings.retries,
          .ca_file = given_or(settings.ca_file, found.ca_file),
          .tls_verify = settings.tls_verify,
          .options = settings.options,
          .stopping = {},
          .may_write = {}};
}

// Of a public image, everybody may get the object, and nobody list the bucket.
bool is_readable(ObjectStore& store, const std::string& key) {
  if (key.empty()) return false;
  try {
    return store.look_up(key).has_value();
  } catch (const Error&) {
    return false;  // the listing's refusal says what is wrong
  }
}

}  // namespace

StoreFactory::StoreFactory(const StoreSettings& settings, const Surroundings& surroundings) {
  if (settings.endpoint_url.starts_with(kFileScheme)) {
    place_ =
        DirectoryPlace{.directory = directory_of(settings.endpoint_url), .bucket = settings.bucket};
  } else {
    place_ = http_config_of(settings, surroundings);
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
    // Below the key: policies may allow that alone.
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
  }
  return std::make_unique<HttpStore>(config, waiting.clock);
}

}  // namespace nbdstack
