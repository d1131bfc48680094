// nbdkit-s3-plugin: a disk in a bucket. See man/nbdkit-s3-plugin.pod.
//
// The volume is found or created in get_ready, so that a wrong bucket, key, size or credential ends
// the start with a message. The server may fork after that, which neither threads nor connections
// survive: the store is made anew in after_fork.
#include <memory>
#include <string>

#include "common/error.hpp"
#include "common/nbdkit/plugin.hpp"
#include "common/nbdkit/server_stop.hpp"
#include "common/sync/system_clock.hpp"
#include "plugins/s3/client_view.hpp"
#include "plugins/s3/store_factory.hpp"
#include "plugins/s3/volume_descriptor.hpp"
#include "plugins/s3/volume_open.hpp"

namespace nbdstack {
namespace {

class S3Plugin final : public Plugin {
 public:
  [[nodiscard]] PluginInfo info() const override {
    return {.name = "s3",
            .longname = "nbdstack S3 plugin",
            .version = NBDSTACK_VERSION,
            .description = "a disk in a bucket of an S3 service, or in a local directory",
            .magic_config_key = "bucket"};
  }

  ParameterTable parameters() override;

  void config_complete() override {
    if (settings_.bucket.empty()) {
      throw Error(EINVAL, "bucket parameter missing: bucket=NAME says where the disk is");
    }
  }

  void get_ready() override {
    stores_ = std::make_unique<StoreFactory>(settings_, Surroundings::of_process());
    const VolumeRequest request = volume_request();
    const auto store = stores_->make_checked(request.key, request.size_bytes.has_value(),
                                             {.clock = clock_, .stopping = {}});
    layout_ = open_volume(*store, request);
  }

  void after_fork() override {
    stop_ = std::make_unique<ServerStop>();
    store_ = stores_->make({.clock = clock_, .stopping = [this] { return stop_->has_begun(); }});
    disk_ = make_disk(*store_, layout_, settings_.connections);
  }

  // One volume under every export name, as with nbdkit's own S3 plugin.
  std::unique_ptr<Layer> open(bool readonly) override {
    return std::make_unique<ClientView>(*disk_, readonly);
  }

 private:
  [[nodiscard]] VolumeRequest volume_request() const {
    VolumeRequest request{
        .bucket = settings_.bucket, .key = key_, .size_bytes = {}, .object_size = {}};
    if (size_bytes_ != 0) request.size_bytes = size_bytes_;
    if (object_size_ != 0) request.object_size = static_cast<std::uint32_t>(object_size_);
    return request;
  }

  StoreSettings settings_;
  std::string key_;
  std::uint64_t size_bytes_ = 0;   // 0: not given
  std::uint64_t object_size_ = 0;  // 0: not given

  std::unique_ptr<StoreFactory> stores_;  // from get_ready on
  VolumeLayout layout_;                   // from get_ready on
  SystemClock clock_;
  std::unique_ptr<ServerStop> stop_;    // from after_fork on; the store uses it
  std::unique_ptr<ObjectStore> store_;  // from after_fork on
  std::unique_ptr<Layer> disk_;         // from after_fork on; goes before the store that it uses
};

ParameterTable S3Plugin::parameters() {
  CredentialParameters& identity = settings_.identity;
  return ParameterTable({
      string_parameter("bucket", settings_.bucket, "NAME", "the bucket, or directory (required)"),
      string_parameter("key", key_, "PREFIX", "the volume's name in the bucket"),
      size_parameter("size", size_bytes_, {.minimum = 1}, "", "create a volume of this size"),
      size_parameter("object-size", object_size_,
                     {.minimum = kObjectSize_bytes_min,
                      .maximum = kObjectSize_bytes_max,
                      .power_of_two = true},
                     format_size(kObjectSize_bytes_default), "bytes in an object of a new volume"),
      string_parameter("endpoint-url", settings_.endpoint_url, "URL",
                       "http[s]://HOST[:PORT], or file:///DIR; AWS where it is not given"),
      string_parameter("region", identity.region, "REGION", "the region to sign for"),
      password_parameter("access-key", identity.access_key, "the access key"),
      password_parameter("secret-key", identity.secret_key, "the secret key"),
      password_parameter("session-token", identity.session_token, "the session token"),
      string_parameter("profile", identity.profile, "NAME", "the profile in ~/.aws to use"),
      number_parameter("connections", settings_.connections, 1, 256, "connections to the service"),
      duration_parameter("timeout", settings_.timeout_ms,
                         "longest time that one operation takes, with all its attempts"),
      number_parameter("retries", settings_.retries, 0, 100, "attempts after the first one"),
      path_parameter("ca-file", settings_.ca_file, "certificates to trust instead of the system's"),
      bool_parameter("tls-verify", settings_.tls_verify, "verify the service's certificate"),
      bool_parameter("virtual-host", settings_.virtual_host,
                     "put the bucket into the host name, not the path"),
  });
}

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_PLUGIN(nbdstack::S3Plugin)
