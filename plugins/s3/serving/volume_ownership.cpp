#include "plugins/s3/serving/volume_ownership.hpp"

#include <exception>
#include <utility>

#include "common/log.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"

namespace nbdstack {

VolumeOwnership::VolumeOwnership(const LeaseSettings& settings, const Host& host)
    : timing_{.duration = settings.duration},
      host_(host),
      lease_(settings, host.boottime_clock, host.processes) {}

VolumeOwnership::~VolumeOwnership() {
  try {
    give_back();
  } catch (const std::exception&) {
    // give_back() logs its failures; what it throws is that memory for its work is missing.
  }
}

std::unique_ptr<ObjectStore> VolumeOwnership::make_store(
    std::chrono::milliseconds timeout, const std::function<bool()>& stopping) const {
  return host_.stores.make({.clock = host_.clock, .stopping = stopping, .timeout = timeout});
}

void VolumeOwnership::take_lease() {
  lease_.acquire(*make_starting_store());
}

void VolumeOwnership::take_token(ObjectStore& store, const VolumeLayout& layout, bool force) {
  token_ = Token{.layout = layout, .identity = put_mount_token(store, layout, force)};
}

void VolumeOwnership::keep(const std::function<bool()>& stopping) {
  if (!has_taken_lease()) return;
  store_ = make_store(timing_.request_timeout(), stopping);
  lease_.settle(*store_);
  keeper_ = std::make_unique<LeaseKeeper>(lease_, timing_.pause());
}

void VolumeOwnership::give_back() {
  keeper_.reset();
  if (has_taken_lease() && store_ == nullptr) {  // the store with which it was taken is gone
    store_ = make_store();
    lease_.move_to(*store_);
  }
  lease_.release();
  remove_token();
}

void VolumeOwnership::remove_token() {
  const auto token = std::exchange(token_, std::nullopt);
  if (!token.has_value()) return;
  try {
    remove_mount_token(*make_store(), token->layout, token->identity);
  } catch (const std::exception& error) {
    log::error("{} could not be removed, and the next server will ask for own=force: {}",
               token->layout.mount_token, error.what());
  }
}

}  // namespace nbdstack
