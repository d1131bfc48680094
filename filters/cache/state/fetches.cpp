#include "filters/cache/state/fetches.hpp"

#include <algorithm>

#include "common/invariant.hpp"

namespace nbdstack {

std::shared_ptr<Fetch> Fetches::find(BlockNumber block) const {
  const auto found = joinable_.find(block);
  return found == joinable_.end() ? nullptr : found->second;
}

std::shared_ptr<Fetch> Fetches::join_or_start(BlockNumber block, bool store, bool may_share,
                                              Started& started) {
  if (auto found = find(block)) {
    if (store) found->store[block.value - found->first.value] = true;
    return found;
  }
  const bool repeated = !started.empty() && block < started.back()->end() &&
                        block >= started.back()->first;  // another part of a block of its own
  if (repeated) return started.back();
  const std::uint32_t length = geometry_.length_of(block);
  const bool extends = !started.empty() && started.back()->end() == block &&
                       started.back()->length + length <= kLongestFetch_bytes;
  if (!extends) {
    started.push_back(std::make_shared<Fetch>());
    started.back()->first = block;
    started.back()->offset = geometry_.offset_of(block);
  }
  const std::shared_ptr<Fetch>& fetch = started.back();
  fetch->store.push_back(store && may_share);
  fetch->length += length;
  if (may_share) joinable_.emplace(block, fetch);
  return fetch;
}

void Fetches::widen(const std::shared_ptr<Fetch>& fetch, std::uint64_t group_bytes,
                    const std::function<bool(BlockNumber)>& is_wanted) {
  const std::uint64_t group_first = fetch->offset & ~(group_bytes - 1);
  const std::uint64_t last_byte = fetch->offset + fetch->length - 1;
  const std::uint64_t group_end =
      std::min(geometry_.size_bytes(), (last_byte | (group_bytes - 1)) + 1);
  const auto adds = [&](BlockNumber block) {
    return !joinable_.contains(block) && is_wanted(block);
  };
  const auto add = [&](BlockNumber block, std::vector<bool>::const_iterator where) {
    fetch->store.insert(where, true);
    fetch->length += geometry_.length_of(block);
    fetch->widened = true;
    joinable_.emplace(block, fetch);
  };
  while (fetch->offset > group_first && adds({fetch->first.value - 1})) {
    --fetch->first.value;
    fetch->offset = geometry_.offset_of(fetch->first);
    add(fetch->first, fetch->store.begin());
  }
  while (fetch->offset + fetch->length < group_end && adds(fetch->end())) {
    add(fetch->end(), fetch->store.end());
  }
}

bool Fetches::is_current(const Fetch& fetch, BlockNumber block) const {
  const auto current = joinable_.find(block);
  return current != joinable_.end() && current->second.get() == &fetch;
}

bool Fetches::may_store(const Fetch& fetch, BlockNumber block) const {
  return is_current(fetch, block) && fetch.store[block.value - fetch.first.value];
}

void Fetches::supersede(const Range& range) {
  std::erase_if(joinable_,
                [&](const auto& fetch) { return range.overlaps(geometry_.range_of(fetch.first)); });
}

void Fetches::done(Fetch& fetch) {
  fetch.done = true;
  fetch.finished.notify_all();
}

void Fetches::end(Fetch& fetch, int error_code) {
  INVARIANT(!fetch.over, fetch.offset, fetch.length);
  for (BlockNumber block = fetch.first; block < fetch.end(); ++block) {
    if (is_current(fetch, block)) joinable_.erase(block);
  }
  fetch.error_code = error_code;
  fetch.over = true;
  done(fetch);
}

void Fetches::wait_for(Fetch& fetch, Mutex& mutex) {
  ++waiting_;
  while (!fetch.done) fetch.finished.wait(mutex);
  --waiting_;
}

}  // namespace nbdstack
