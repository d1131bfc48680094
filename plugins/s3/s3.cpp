// nbdkit-s3-plugin: a disk in a bucket. See man/nbdkit-s3-plugin.pod.
//
// The volume is found or created in get_ready, so that a wrong bucket, key, size or credential ends
// the start with a message. The server may fork after that, and a fork loses threads and
// connections, so the parts that serve are made in after_fork.
#include <memory>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "common/nbdkit/plugin.hpp"
#include "common/nbdkit/server_options.hpp"
#include "common/nbdkit/server_stop.hpp"
#include "common/nbdkit/server_user.hpp"
#include "common/sync/boottime_clock.hpp"
#include "common/sync/system_clock.hpp"
#include "plugins/s3/lease/process_identity.hpp"
#include "plugins/s3/s3_parameters.hpp"
#include "plugins/s3/serving/request_log.hpp"
#include "plugins/s3/serving/served_volume.hpp"
#include "plugins/s3/serving/volume_set.hpp"
#include "plugins/s3/volume/per_client_volume.hpp"

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

  ParameterTable parameters() override {
    ParameterTable table = parameters_.table();
    table.add(path_parameter("request-log", request_log_,
                             "append a line there for each request, with what it asked of S3"));
    return table;
  }

  // nbdkit passes -r to a plugin when a client connects. That is too late: the lease is taken at
  // the start.
  void config_complete() override {
    if (is_readonly_server()) parameters_.serve_readonly();
    parameters_.check();
  }

  void get_ready() override {
    if (!request_log_.empty()) open_log();
    stores_ =
        std::make_unique<StoreFactory>(parameters_.store(), Environment::of_process(), metrics());
    if (!parameters_.serves_many()) {
      volume_ = std::make_unique<ServedVolume>(parameters_.serving(), host());
    }
    // The server's user works with a directory's files later, and must own those that are made now.
    // (A service needs only credentials, which root may read and the server's user need not.)
    if (!stores_->is_directory()) return open_store();
    try {
      as_server_user([this] { open_store(); });
    } catch (const Error& error) {
      if (error.code() != EACCES && error.code() != EPERM) throw;
      throw Error(error.code(), fmt::format("endpoint-url: {}", error.what()));
    }
  }

  void after_fork() override {
    stop_ = std::make_unique<ServerStop>();
    const auto stopping = [this] { return stop_->has_begun(); };
    if (volume_ != nullptr) {
      volume_->serve(stopping);
    } else {
      volumes_ = std::make_unique<VolumeSet>(parameters_.serving(), host(), stopping);
    }
  }

  // Every export name opens the one volume, as with nbdkit's own S3 plugin, unless there are many.
  std::unique_ptr<Layer> open(bool readonly, const std::string& export_name) override {
    Layer& disk = volume_ != nullptr ? volume_->disk() : volumes_->disk(export_name);
    auto view =
        std::make_unique<PerClientVolume>(disk, readonly || parameters_.serving().request.readonly);
    if (log_ == nullptr) return view;
    return logged(std::move(view), *log_, export_name);
  }

  std::vector<std::string> exports() override {
    return volume_ != nullptr ? std::vector<std::string>{""} : volumes_->names();
  }

  void cleanup() override {
    if (volume_ != nullptr) volume_->stop();
    if (volumes_ != nullptr) volumes_->stop();
  }

  // Many volumes are opened for clients only, so none is open while the start fails.
  void abandon() override {
    if (volume_ != nullptr) volume_->abandon();
  }

 private:
  void open_log() {
    try {
      log_ = std::make_unique<RequestLog>(request_log_);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("request-log: {}", error.what()));
    }
  }

  void open_store() {
    if (volume_ != nullptr) return volume_->open();
    const auto checked =
        stores_->make_checked(parameters_.serving().request.key, false, {.clock = clock_});
  }

  [[nodiscard]] Host host() {
    return {.stores = *stores_,
            .clock = clock_,
            .boottime_clock = boottime_clock_,
            .processes = processes_,
            .metrics = metrics()};
  }

  S3Parameters parameters_;
  std::string request_log_;
  std::unique_ptr<RequestLog> log_;  // from get_ready on; null if nobody wants it
  SystemClock clock_;
  BoottimeClock boottime_clock_;
  LocalProcesses processes_;
  std::unique_ptr<StoreFactory> stores_;  // from get_ready on
  std::unique_ptr<ServerStop> stop_;      // from after_fork on; the members below use it
  std::unique_ptr<ServedVolume> volume_;  // from get_ready on; null with many volumes
  std::unique_ptr<VolumeSet> volumes_;    // from after_fork on; null with one volume
};

}  // namespace
}  // namespace nbdstack

NBDSTACK_REGISTER_PLUGIN(nbdstack::S3Plugin)
