#include "plugins/s3/blocks/presence.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

Presence::Presence(BlockObjects& objects, PresenceSettings settings)
    : objects_(objects),
      settings_(std::move(settings)),
      map_(*settings_.map),
      listed_(!map_.is_in_use()) {
  if (listed_) return;
  try {
    lister_.start([this](StoppableThread& /*self*/) { list(); });
  } catch (const std::exception& error) {  // std::system_error, std::bad_alloc
    listed_ = true;
    log::error("no thread could be started to list what is stored ({}): requests will be slower",
               error.what());
  }
}

// Checks once for as long as the volume is served: a service treats the names of all objects alike.
bool Presence::listings_are_proof() {
  ObjectStore& store = objects_.store();
  if (!store.lists_are_proof()) return false;
  std::call_once(judged_, [&] {
    are_proof_ = settings_.witness.empty() || is_listed(store, settings_.witness);
    if (are_proof_) return;
    log::error(
        "listings do not show {}, which is there, and are not believed: what they do not show is "
        "asked for when it is needed",
        settings_.witness);
  });
  return are_proof_;
}

void Presence::list() {
  std::size_t count = 0;
  try {
    BlockListing listing(objects_.store(), objects_.format(), settings_.requests);
    listing.run({0}, {settings_.block_count}, [&](const ListedBlocks& listed) {
      learn(listed);
      count += listed.blocks.size();
      return !lister_.is_stopping();
    });
    log::debug("{} objects are listed, in {} runs", count, map_.runs());
    if (!lister_.is_stopping()) say_contradictions();
  } catch (const std::exception& error) {
    log::debug("the listing of what is stored ended after {} objects: {}", count, error.what());
  }
  const MutexLock lock(mutex_);
  listed_ = true;
  has_listed_.notify_all();
}

void Presence::learn(const ListedBlocks& listed) {
  objects_.learn(listed.blocks);
  std::vector<BlockNumber> blocks;
  blocks.reserve(listed.blocks.size());
  for (const ListedBlock& each : listed.blocks) blocks.push_back(each.block);
  if (listings_are_proof()) {
    map_.learn(blocks, listed.first, listed.end);
    return;
  }
  const auto found = map_.compare(blocks, listed.first, listed.end);
  doubts_.recorded += found.recorded;
  doubts_.confirmed += found.confirmed;
  doubts_.unexpected += found.unexpected.size();
  if (!found.unexpected.empty()) doubts_.example = found.unexpected.front();
}

void Presence::say_contradictions() const {
  if (doubts_.recorded > doubts_.confirmed) {
    log::error(
        "a listing does not show {} of {} objects that this volume has stored: the service shows "
        "objects late, or not at all, and its listings are not believed",
        doubts_.recorded - doubts_.confirmed, doubts_.recorded);
  }
  if (doubts_.unexpected > 0) {
    log::error(
        "a listing shows {} objects, such as {}, that this volume has not stored, or has removed: "
        "somebody else writes to it, or the service goes on showing what was removed; each is "
        "asked "
        "for when it is needed",
        doubts_.unexpected, name_of(doubts_.example));
  }
}

void Presence::wait_until_listed() {
  const MutexLock lock(mutex_);
  while (!listed_) has_listed_.wait(mutex_);
}

bool Presence::is_missed(BlockNumber block) {
  if (map_.is_stored(block)) return true;
  map_.not_found(block);
  return false;
}

void Presence::check_not_missed(BlockNumber block) {
  if (!is_missed(block)) return;
  throw Error(EIO, fmt::format("{} is missing: this volume has stored it and has not removed it, "
                               "but the store says that there is no such object",
                               name_of(block)))
      .about(block.value);
}

StoredBlocks Presence::to_remove(BlockNumber first, BlockNumber end, std::size_t limit) {
  auto known = map_.candidates(first, end);
  if (!known.has_value() && listings_are_proof()) {
    const bool in_order = objects_.are_listed_in_order();
    if (!in_order && end.value - first.value > BlockObjects::kBatch) {
      wait_until_listed();  // rather than remove thousands of objects that are not there
      known = map_.candidates(first, end);
    }
    if (!known.has_value() && (in_order || first.next() == end)) return ask(first, end, limit);
  }
  if (!known.has_value()) known = map_.not_absent(first, end);
  StoredBlocks result{.blocks = {}, .known_to = end};
  for (const Range& run : *known) {
    for (std::uint64_t block = run.offset; block < run.end(); ++block) {
      if (result.blocks.size() == limit) {
        result.known_to = {block};
        return result;
      }
      result.blocks.push_back({block});
    }
  }
  return result;
}

StoredRuns Presence::runs(BlockNumber first, BlockNumber end, std::size_t limit) {
  if (auto known = map_.candidates(first, end)) {
    return {.runs = std::move(*known), .known_to = end};
  }
  const bool one = first.next() == end;
  const bool may_ask = one || (objects_.are_listed_in_order() && listings_are_proof());
  if (!may_ask) {
    const PresenceMap& map = settings_.frozen != nullptr ? *settings_.frozen : map_;
    return {.runs = map.not_absent(first, end), .known_to = end};
  }
  const StoredBlocks stored = ask(first, end, limit);
  StoredRuns result{.runs = {}, .known_to = stored.known_to};
  for (const BlockNumber block : stored.blocks) {
    if (!result.runs.empty() && result.runs.back().end() == block.value) {
      ++result.runs.back().length;
    } else {
      result.runs.push_back({block.value, 1});
    }
  }
  return result;
}

// Looks one block up, which is proof, and lists more than one.
StoredBlocks Presence::ask(BlockNumber first, BlockNumber end, std::size_t limit) {
  StoredBlocks stored = objects_.stored(first, end, limit);
  map_.learn(stored.blocks, first, stored.known_to);
  return stored;
}

}  // namespace nbdstack
