#include "plugins/s3/presence.hpp"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "common/log.hpp"
#include "plugins/s3/block_listing.hpp"

namespace nbdstack {

Presence::Presence(BlockObjects& objects, std::uint64_t block_count, std::size_t requests,
                   std::function<bool()> is_owner)
    : objects_(objects), map_(std::move(is_owner)), listed_(!map_.is_in_use()) {
  if (listed_) return;
  try {
    lister_ = std::thread([=, this] { list(block_count, requests); });
  } catch (const std::system_error& error) {
    listed_ = true;
    log::error("no thread could be started to list what is stored ({}): requests will be slower",
               error.what());
  }
}

Presence::~Presence() {
  stopping_ = true;
  if (lister_.joinable()) lister_.join();
}

void Presence::list(std::uint64_t block_count, std::size_t requests) {
  std::size_t count = 0;
  try {
    BlockListing listing(objects_.store(), objects_.format(), requests);
    listing.run({0}, {block_count}, [&](const ListedBlocks& listed) {
      objects_.learn(listed.blocks);
      std::vector<BlockNumber> blocks;
      blocks.reserve(listed.blocks.size());
      for (const ListedBlock& each : listed.blocks) blocks.push_back(each.block);
      map_.learn(blocks, listed.first, listed.end);
      count += blocks.size();
      return !stopping_;
    });
    log::debug("{} objects are stored, in {} runs", count, map_.runs());
  } catch (const std::exception& error) {
    log::debug("the listing of what is stored ended after {} objects: {}", count, error.what());
  }
  const std::lock_guard lock(mutex_);
  listed_ = true;
  has_listed_.notify_all();
}

void Presence::wait_until_listed() {
  std::unique_lock lock(mutex_);
  has_listed_.wait(lock, [&] { return listed_; });
}

StoredBlocks Presence::to_remove(BlockNumber first, BlockNumber end, std::size_t limit) {
  auto known = map_.candidates(first, end);
  const bool in_order = objects_.format().names_are_ordered();
  if (!known.has_value() && !in_order && end.value - first.value > BlockObjects::kBatch) {
    wait_until_listed();  // rather than remove thousands of objects that are not there
    known = map_.candidates(first, end);
  }
  if (!known.has_value() && (in_order || first.next() == end)) return ask(first, end, limit);
  if (!known.has_value()) known = {{first.value, end.value - first.value}};
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
  if (!objects_.format().names_are_ordered() && first.next() != end) {
    return {.runs = {{first.value, end.value - first.value}}, .known_to = end};
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

StoredBlocks Presence::ask(BlockNumber first, BlockNumber end, std::size_t limit) {
  StoredBlocks stored = objects_.stored(first, end, limit);
  map_.learn(stored.blocks, first, stored.known_to);
  return stored;
}

}  // namespace nbdstack
