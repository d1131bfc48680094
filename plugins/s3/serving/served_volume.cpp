#include "plugins/s3/serving/served_volume.hpp"

#include <fmt/core.h>

#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/metrics/metric.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/lease/leased_disk.hpp"
#include "plugins/s3/store/unchanged_since.hpp"
#include "plugins/s3/volume/volume_identity.hpp"
#include "plugins/s3/volume/volume_open.hpp"

namespace nbdstack {

ServedVolume::ServedVolume(ServingSettings settings, const Host& host)
    : settings_(std::move(settings)), host_(host) {}

ServedVolume::~ServedVolume() {
  try {
    stop();
  } catch (const std::exception&) {
    // stop() logs its failures; it throws only for lack of memory.
  }
}

bool ServedVolume::wants_ownership() const {
  return !settings_.request.readonly && layout_.kind == VolumeKind::blocks &&
         settings_.ownership != Ownership::none;
}

LeaseSettings ServedVolume::lease_settings() const {
  const bool is_leased = wants_ownership() && layout_.layout != Layout::s3backer;
  return {.volume = layout_.place,
          .volume_key = layout_.key,
          .ownership = is_leased ? settings_.ownership : Ownership::none,
          .duration = settings_.lease_duration};
}

void ServedVolume::open() {
  VolumeRequest request = settings_.request;
  const auto store = host_.stores.make_checked(
      request.key, request.size_bytes.has_value() && !request.readonly, {.clock = host_.clock});
  request.key = resolve_key(*store, request);
  layout_ = open_volume(*store, request);
  if (layout_.kind == VolumeKind::blocks && !layout_.id.empty() && !store->lists_are_proof()) {
    memory_.emplace(remembered(layout_), host_.processes);
  }
  // If the rest fails, the destructor gives back the lease or the token.
  auto ownership = std::make_unique<VolumeOwnership>(lease_settings(), host_);
  if (wants_ownership() && layout_.layout == Layout::s3backer) {
    ownership->take_token(*store, layout_, settings_.ownership == Ownership::force);
  } else if (wants_ownership()) {
    ownership->take_lease();
  }
  change_descriptor(*store);
  if (request.readonly) {
    recall_frozen_blocks(*store);
  } else {
    recall_blocks(*store, ownership->lease());
  }
  ownership_ = std::move(ownership);
}

void ServedVolume::change_descriptor(ObjectStore& store) {
  const auto& change = layout_.descriptor_change;
  if (change.has_value()) replace_descriptor(store, change->read, change->changed, layout_.key);
}

void ServedVolume::recall_blocks(ObjectStore& store, const Lease& lease) {
  if (!memory_.has_value() || !lease.is_exclusive()) return;
  if (layout_.is_new && !lease.predecessor().has_value()) {
    known_blocks_ = no_blocks_stored(remembered(layout_).block_count);
  } else {
    known_blocks_ = memory_->recall(store, lease.predecessor());
  }
}

void ServedVolume::recall_frozen_blocks(ObjectStore& store) {
  if (layout_.kind != VolumeKind::blocks || layout_.layout != Layout::own) return;
  last_lease_ = look_up_lease(store, layout_.key);
  term_ = term_of(last_lease_);
  if (memory_.has_value() && last_lease_.has_value()) {
    known_blocks_ = memory_->recall(store, last_lease_);
  }
}

// Returns the map of a read-only server; null if no record is believed.
std::shared_ptr<PresenceMap> ServedVolume::frozen_map() {
  if (!settings_.request.readonly || known_blocks_.empty()) return nullptr;
  const auto unchanged = std::make_shared<UnchangedSince>(
      *store_,
      UnchangedSince::Seen{.key = lease_object_key(layout_.key), .etag = last_lease_->version.etag},
      UnchangedSince::Seen{.key = memory_->name(), .etag = memory_->seen_etag()});
  return std::make_shared<PresenceMap>([unchanged] { return unchanged->holds(); },
                                       std::exchange(known_blocks_, KnownBlocks()));
}

// No change of a block may be in flight.
void ServedVolume::remember_blocks() {
  if (!memory_.has_value()) return;
  const Lease& lease = ownership_->lease();
  if (writes_unowned()) {
    memory_->end_unowned(*ownership_->make_store());
  } else if (map_ != nullptr && lease.is_exclusive() && lease.may_write()) {
    memory_->remember(*ownership_->make_store(), lease.conditions(), lease.owner(), map_->known());
  }
}

bool ServedVolume::writes_unowned() const {
  return !settings_.request.readonly && settings_.ownership == Ownership::none;
}

// Returns the key of an object that every listing must show; empty if there is none.
std::string ServedVolume::witness() const {
  if (layout_.kind != VolumeKind::blocks) return {};
  if (ownership_->has_taken_token()) return layout_.mount_token;
  if (!layout_.id.empty()) return ObjectNames(layout_.key).descriptor();
  return ownership_->has_taken_lease() ? lease_object_key(layout_.key) : std::string();
}

void ServedVolume::serve(const std::function<bool()>& stopping) {
  std::function<bool()> may_write;
  std::function<bool()> is_owner;
  Lease& lease = ownership_->lease();
  ownership_->keep(stopping);
  if (ownership_->has_taken_lease()) {
    may_write = [&lease] { return lease.may_write(); };
    if (lease.is_exclusive()) is_owner = may_write;
    term_ = lease.term();
  } else if (ownership_->has_taken_token() && settings_.ownership != Ownership::force) {
    is_owner = [] { return true; };
  }
  if (is_owner) {
    map_ = std::make_shared<PresenceMap>(std::move(is_owner),
                                         std::exchange(known_blocks_, KnownBlocks()));
  }
  if (memory_.has_value() && writes_unowned()) {
    memory_->begin_unowned(*ownership_->make_starting_store());
  }
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
  disk_ = std::make_unique<LeasedDisk>(std::move(disk_), lease,
                                       identity_of_volume(layout_, host_.stores.place(), term_));
  measure();
}

void ServedVolume::measure() {
  const Labels labels{{"place", host_.stores.place()}, {"key", layout_.key}};
  metrics_.push_back(host_.metrics.sampled(
      metric::kS3Volume, [] { return std::optional(1.0); }, labels));
  if (!ownership_->has_taken_lease()) return;
  const Lease& lease = ownership_->lease();
  metrics_.push_back(host_.metrics.sampled(
      metric::kS3LeaseSeconds,
      [&lease] { return std::optional(std::chrono::duration<double>(lease.remaining()).count()); },
      labels));
}

// A volume that is shared on purpose, without a lease, has no conditions: its users expect others
// to change it.
ChangeGuard ServedVolume::guard() const {
  ChangeGuard guard{.conditions = ownership_->lease().conditions(),
                    .bound = host_.stores.timeout(),
                    .clock = &host_.clock};
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
  metrics_.clear();
  disk_.reset();
  store_.reset();
  if (served) remember_blocks();
  ownership_.reset();
}

void ServedVolume::abandon() {
  // The disk still exists for clients that are using it, and needs the lease to refuse their
  // writes.
  if (ownership_ != nullptr && !ownership_->lease().has_changed()) ownership_->give_back();
}

}  // namespace nbdstack
