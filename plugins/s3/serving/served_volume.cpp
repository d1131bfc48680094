#include "plugins/s3/serving/served_volume.hpp"

#include <fmt/core.h>

#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/lease/leased_disk.hpp"
#include "plugins/s3/store/unchanged_since.hpp"
#include "plugins/s3/volume/volume_identity.hpp"
#include "plugins/s3/volume/volume_open.hpp"

namespace nbdstack {

ServedVolume::ServedVolume(ServingSettings settings, const Host& host)
    : settings_(std::move(settings)), timing_{.duration = settings_.lease_duration}, host_(host) {}

ServedVolume::~ServedVolume() {
  try {
    stop();
  } catch (const std::exception&) {
    // What stop() cannot do it says in the log. Only for that can memory be short here.
  }
}

bool ServedVolume::wants_ownership() const {
  return !settings_.request.readonly && layout_.kind == VolumeKind::blocks &&
         settings_.ownership != Ownership::none;
}

// Not the volume's: a renewal must not wait as long as a block may, and goes on while the server
// stops.
std::unique_ptr<ObjectStore> ServedVolume::make_lease_store(
    std::chrono::milliseconds timeout) const {
  return host_.stores.make({.clock = host_.clock, .timeout = timeout});
}

void ServedVolume::open() {
  VolumeRequest request = settings_.request;
  const auto store = host_.stores.make_checked(
      request.key, request.size_bytes.has_value() && !request.readonly, {.clock = host_.clock});
  request.key = resolve_key(*store, request);
  layout_ = open_volume(*store, request);
  if (layout_.kind == VolumeKind::blocks && !layout_.id.empty() && !store->lists_are_proof()) {
    const BlockGeometry geometry(layout_.size_bytes, layout_.object_size);
    memory_.emplace(RememberedVolume{.place = layout_.place,
                                     .key = layout_.key,
                                     .id = layout_.id,
                                     .block_count = geometry.block_count()},
                    host_.processes);
  }
  if (!wants_ownership()) {
    if (request.readonly && layout_.kind == VolumeKind::blocks && layout_.layout == Layout::own) {
      recall_frozen_blocks(*store);
    }
    change_descriptor(*store);
    return;
  }
  if (layout_.layout == Layout::s3backer) {
    take_token(*store);
    return;
  }
  lease_store_ = make_lease_store(timing_.start_timeout());
  take_lease();
  try {
    change_descriptor(*store);
    recall_blocks(*store);
  } catch (...) {
    give_back();
    throw;
  }
  lease_store_.reset();
}

void ServedVolume::change_descriptor(ObjectStore& store) {
  const auto& change = layout_.descriptor_change;
  if (change.has_value()) replace_descriptor(store, change->read, change->changed, layout_.key);
}

LeaseSettings ServedVolume::lease_settings() const {
  return {.volume = layout_.place,
          .volume_key = layout_.key,
          .ownership = settings_.ownership,
          .duration = settings_.lease_duration};
}

void ServedVolume::take_lease() {
  lease_ = std::make_unique<Lease>(lease_settings(), host_.boottime_clock, host_.processes);
  try {
    lease_->acquire(*lease_store_);
  } catch (...) {
    lease_.reset();
    throw;
  }
}

void ServedVolume::take_token(ObjectStore& store) {
  token_ = put_mount_token(store, layout_, settings_.ownership == Ownership::force);
}

void ServedVolume::recall_blocks(ObjectStore& store) {
  if (!memory_.has_value() || !lease_->is_exclusive()) return;
  if (layout_.is_new && !lease_->predecessor().has_value()) {
    known_blocks_ =
        no_blocks_stored(BlockGeometry(layout_.size_bytes, layout_.object_size).block_count());
  } else {
    known_blocks_ = memory_->recall(store, lease_->predecessor());
  }
}

void ServedVolume::recall_frozen_blocks(ObjectStore& store) {
  last_lease_ = look_up_lease(store, layout_.key);
  term_ = term_of(last_lease_);
  if (memory_.has_value() && last_lease_.has_value()) {
    known_blocks_ = memory_->recall(store, last_lease_);
  }
}

// Of who only reads; null where nothing is recorded.
std::shared_ptr<PresenceMap> ServedVolume::frozen_map() {
  if (!settings_.request.readonly || known_blocks_.empty()) return nullptr;
  const auto unchanged = std::make_shared<UnchangedSince>(
      *store_,
      UnchangedSince::Seen{.key = lease_object_key(layout_.key), .etag = last_lease_->version.etag},
      UnchangedSince::Seen{.key = memory_->name(), .etag = memory_->seen_etag()});
  return std::make_shared<PresenceMap>([unchanged] { return unchanged->holds(); },
                                       std::exchange(known_blocks_, KnownBlocks()));
}

// No request that changes a block is under way.
void ServedVolume::remember_blocks() {
  if (!memory_.has_value()) return;
  if (writes_unowned()) {
    memory_->end_unowned(*make_lease_store(timing_.request_timeout()));
  } else if (map_ != nullptr && lease_->is_exclusive() && lease_->may_write()) {
    memory_->remember(*make_lease_store(timing_.request_timeout()), lease_->conditions(),
                      lease_->owner(), map_->known());
  }
}

bool ServedVolume::writes_unowned() const {
  return !settings_.request.readonly && settings_.ownership == Ownership::none;
}

// Every listing has to show it.
std::string ServedVolume::witness() const {
  if (layout_.kind != VolumeKind::blocks) return {};
  if (token_.has_value()) return layout_.mount_token;
  if (!layout_.id.empty()) return ObjectNames(layout_.key).descriptor();
  return lease_ != nullptr ? lease_object_key(layout_.key) : std::string();
}

void ServedVolume::serve(const std::function<bool()>& stopping) {
  std::function<bool()> may_write;
  std::function<bool()> is_owner;
  if (lease_ != nullptr) {
    lease_store_ = make_lease_store(timing_.request_timeout());
    lease_->settle(*lease_store_);
    may_write = [this] { return lease_->may_write(); };
    if (lease_->is_exclusive()) is_owner = may_write;
    term_ = lease_->term();
    keeper_ = std::make_unique<LeaseKeeper>(*lease_, timing_.pause());
  } else if (token_.has_value() && settings_.ownership != Ownership::force) {
    is_owner = [] { return true; };
  }
  if (is_owner) {
    map_ = std::make_shared<PresenceMap>(std::move(is_owner),
                                         std::exchange(known_blocks_, KnownBlocks()));
  }
  if (memory_.has_value() && writes_unowned())
    memory_->begin_unowned(*make_lease_store(timing_.start_timeout()));
  store_ = host_.stores.make({.clock = host_.clock,
                              .stopping = stopping,
                              .may_write = std::move(may_write),
                              .volume_key = layout_.key});
  disk_ = make_disk(*store_, layout_,
                    {.connections = settings_.connections,
                     .guard = guard(),
                     .map = map_,
                     .frozen = frozen_map(),
                     .witness = witness()});
  if (lease_ == nullptr) {
    LeaseSettings settings = lease_settings();
    settings.ownership = Ownership::none;
    lease_ = std::make_unique<Lease>(settings, host_.boottime_clock, host_.processes);
  }
  disk_ = std::make_unique<LeasedDisk>(std::move(disk_), *lease_,
                                       identity_of_volume(layout_, host_.stores.place(), term_));
}

// Whoever shares a volume on purpose, without a lease, expects others to change it.
ChangeGuard ServedVolume::guard() const {
  ChangeGuard guard{.bound = host_.stores.timeout(), .clock = &host_.clock};
  if (lease_ != nullptr) guard.conditions = lease_->conditions();
  const bool is_written = !settings_.request.readonly && layout_.kind == VolumeKind::blocks;
  if (is_written && !guard.conditions.honoured() && guard.bound.count() > 0) {
    log::error(
        "{}: changes carry no conditions ({}). One that the service still holds {} s after it "
        "was given up, or {} s after the service ended its connection, may undo a newer one; "
        "until then newer ones of the same object wait",
        layout_.place,
        guard.conditions.reason.empty() ? "there is no lease" : guard.conditions.reason,
        std::chrono::duration<double>(guard.bound).count(), ChangeGuard::kEndedBound.count());
  }
  return guard;
}

void ServedVolume::stop() {
  const bool served = disk_ != nullptr;
  disk_.reset();
  store_.reset();
  if (served) remember_blocks();
  keeper_.reset();
  give_back();
}

void ServedVolume::abandon() {
  if (lease_ != nullptr && lease_->has_changed()) return;
  keeper_.reset();
  if (disk_ == nullptr) return give_back();
  // The disk is still there for those who are using it, and needs the lease to be refused.
  if (lease_ != nullptr && lease_store_ != nullptr) lease_->release();
  remove_token();
}

void ServedVolume::give_back() {
  if (lease_ != nullptr && lease_store_ == nullptr && wants_ownership()) {
    // Not served yet: the store that it was taken with is gone.
    lease_store_ = make_lease_store(timing_.request_timeout());
    lease_->move_to(*lease_store_);
  }
  if (lease_ != nullptr && lease_store_ != nullptr) lease_->release();
  lease_.reset();
  lease_store_.reset();
  remove_token();
}

void ServedVolume::remove_token() {
  const auto token = std::exchange(token_, std::nullopt);
  if (!token.has_value()) return;
  try {
    remove_mount_token(*make_lease_store(timing_.request_timeout()), layout_, *token);
  } catch (const std::exception& error) {
    log::error("{} could not be removed, and the next server will ask for own=force: {}",
               layout_.mount_token, error.what());
  }
}

}  // namespace nbdstack
