#include "plugins/s3/blocks/block_memory.hpp"

#include <fmt/core.h>

#include <exception>
#include <memory>
#include <span>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

constexpr int kRecordAttempts_max = 3;  // to replace an object that was replaced meanwhile

}  // namespace

BlockMemory::BlockMemory(RememberedVolume volume, const Processes& processes)
    : volume_(std::move(volume)), processes_(processes), name_(block_record_key(volume_.key)) {}

std::optional<BlockMemory::Seen> BlockMemory::read(ObjectStore& store) const {
  const std::size_t room = block_record_bytes_max(volume_.block_count);
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(room);  // most of it stays unused
  const auto object = store.fetch(name_, {bytes.get(), room});
  if (!object.has_value()) return std::nullopt;
  Seen seen{.etag = object->etag, .record = std::nullopt};
  try {
    seen.record = BlockRecord::parse({bytes.get(), object->size_bytes}, name_);
  } catch (const Error& error) {
    log::error("{}: it is not believed, and what it should say is asked for: {}", volume_.place,
               error.what());
  }
  return seen;
}

KnownBlocks BlockMemory::recall(ObjectStore& store, const std::optional<SeenLease>& predecessor) {
  try {
    seen_ = read(store);
  } catch (const Error& error) {
    log::error("{}: the record of what is stored could not be read: {}", volume_.place,
               error.what());
    return {};
  }
  if (!seen_.has_value() || !seen_->record.has_value()) return {};
  BlockRecord& record = *seen_->record;
  const bool fits = record.state == BlockRecord::State::recorded &&
                    record.volume_id == volume_.id && record.block_count == volume_.block_count &&
                    predecessor.has_value() && predecessor->record.has_value() &&
                    predecessor->record->state == LeaseRecord::State::released &&
                    predecessor->record->owner == record.owner;
  log::debug("{}: {} {}", volume_.place, name_,
             fits ? "tells what is stored" : "is of another time, and not believed");
  return fits ? std::move(record.blocks) : KnownBlocks();
}

bool BlockMemory::is_mark(const Seen& seen) const {
  return seen.record.has_value() && seen.record->state != BlockRecord::State::recorded &&
         seen.record->volume_id == volume_.id;
}

bool BlockMemory::is_claimed(const std::optional<Seen>& seen) const {
  return seen.has_value() && is_mark(*seen) && seen->record->state == BlockRecord::State::unowned &&
         !processes_.is_gone(seen->record->process);
}

void BlockMemory::remember(ObjectStore& store, const ConditionalPuts& conditions,
                           const std::string& owner, KnownBlocks blocks) {
  const BlockRecord record{.state = BlockRecord::State::recorded,
                           .volume_id = volume_.id,
                           .owner = owner,
                           .block_count = volume_.block_count,
                           .blocks = std::move(blocks)};
  try {
    const auto bytes = record.to_bytes();
    if (!bytes.has_value()) {
      log::error("{}: what is stored lies in too many pieces to be recorded: the next server asks",
                 volume_.place);
      return;
    }
    for (int attempts = 0; attempts < kRecordAttempts_max && !is_claimed(seen_); ++attempts) {
      const PutOptions options{
          .mode = seen_.has_value() ? PutMode::if_match : PutMode::create_only,
          .etag = seen_.has_value() ? conditions.etag_to_send(seen_->etag) : std::string()};
      if (store.put(name_, *bytes, options).result == PutResult::stored) return;
      seen_ = read(store);
      if (seen_.has_value() && is_mark(*seen_)) break;  // put while this owner wrote, too
    }
    log::debug("{}: {} is somebody else's, and stays as it is", volume_.place, name_);
  } catch (const std::exception& error) {
    log::error("{}: what is stored was not recorded, and the next server asks: {}", volume_.place,
               error.what());
  }
}

void BlockMemory::put_unowned(ObjectStore& store, BlockRecord::State state) {
  const BlockRecord mark{.state = state,
                         .volume_id = volume_.id,
                         .owner = unowned_,
                         .process = processes_.self(),
                         .block_count = volume_.block_count};
  store.put(name_, mark.to_bytes().value(), {});
}

void BlockMemory::begin_unowned(ObjectStore& store) {
  unowned_ = LeaseRecord::make(processes_, kLeaseDuration_min).owner;
  put_unowned(store, BlockRecord::State::unowned);
}

void BlockMemory::end_unowned(ObjectStore& store) {
  try {
    put_unowned(store, BlockRecord::State::unowned_ended);
  } catch (const std::exception& error) {
    log::error(
        "{}: {} goes on saying that a server with own=none writes the volume, until it is "
        "removed: {}",
        volume_.place, name_, error.what());
  }
}

}  // namespace nbdstack
