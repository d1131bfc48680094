// The base of the verbs of nbdstack-s3: the store, the lease under which a verb changes the volume,
// and the progress. Used by one thread; others call only the functions in change_options().
#pragma once

#include <memory>
#include <string>

#include "common/command/progress.hpp"
#include "common/error.hpp"
#include "common/sync/boottime_clock.hpp"
#include "common/sync/system_clock.hpp"
#include "plugins/s3/command/block_handover.hpp"
#include "plugins/s3/command/block_removal.hpp"
#include "plugins/s3/command/command_line.hpp"
#include "plugins/s3/lease/process_identity.hpp"
#include "plugins/s3/serving/served_volume.hpp"

namespace nbdstack {

class VerbContext {
 public:
  explicit VerbContext(const CommandLine& command)
      : command_(command),
        settings_(command.parameters().serving()),
        stores_(command.parameters().store(), Environment::of_process()),
        progress_(style_on_stderr(command.progress()), clock_, print_on_stderr) {}

 protected:
  void refuse_readonly() const {
    const bool is_refused = settings_.request.readonly;
    if (is_refused) throw Error(EROFS, "readonly=true was given, and this verb changes the volume");
  }

  [[nodiscard]] std::unique_ptr<ObjectStore> checked_store() const {
    return stores_.make_checked(settings_.request.key, false, {.clock = clock_});
  }

  void take_lease() {
    const std::string& key = settings_.request.key;
    const std::string place = key.empty()
                                  ? fmt::format("bucket {}", settings_.request.bucket)
                                  : fmt::format("bucket {}, key {}", settings_.request.bucket, key);
    leased_key_ = key;
    ownership_ =
        std::make_unique<VolumeOwnership>(LeaseSettings{.volume = place,
                                                        .volume_key = key,
                                                        .ownership = settings_.ownership,
                                                        .duration = settings_.lease_duration},
                                          Host{.stores = stores_,
                                               .clock = clock_,
                                               .boottime_clock = boottime_clock_,
                                               .processes = processes_});
    ownership_->take_lease();
    ownership_->keep();
  }

  // After take_lease().
  [[nodiscard]] Lease& lease() const { return ownership_->lease(); }

  // Called before each change of what the disk contains. Throws Error(ESHUTDOWN) with the reason if
  // this may not write. Waits for a renewal that decides that.
  void check_writable() const {
    check_owner();
    lease().note_change();
  }
  // The same before a change of what lies outside of the disk, and of the volume's description:
  // what anybody knows of the disk's content stays true.
  void check_owner() const { lease().await_writable(); }

  [[nodiscard]] BlockHandover handover(ObjectStore& store) const {
    return {store, lease(), processes_};
  }

  // Changes objects only while the lease lasts, if there is one.
  [[nodiscard]] std::unique_ptr<ObjectStore> leased_store() const {
    Waiting waiting{.clock = clock_};
    if (ownership_ != nullptr) {
      waiting.may_write = [this] { return lease().may_write(); };
      waiting.volume_key = leased_key_;
    }
    return stores_.make(waiting);
  }

  ChangeOptions change_options() {
    ChangeGuard guard{.bound = stores_.timeout(), .clock = &clock_};
    if (ownership_ != nullptr) guard.conditions = lease().conditions();
    return {.requests = settings_.connections,
            .check_writable =
                [this] {
                  if (ownership_ != nullptr) check_writable();
                },
            .progress =
                [this](std::uint64_t removed) {
                  if (progress_.is_due()) {
                    progress_.show(fmt::format("{} objects removed", removed));
                  }
                },
            .guard = guard};
  }

  const CommandLine& command_;
  ServingSettings settings_;
  mutable SystemClock clock_;
  BoottimeClock boottime_clock_;
  LocalProcesses processes_;
  const StoreFactory stores_;
  Progress progress_;
  std::string leased_key_;  // of the volume that ownership_ is for
  std::unique_ptr<VolumeOwnership> ownership_;
};

}  // namespace nbdstack
