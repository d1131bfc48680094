#include "plugins/s3/store/known_versions.hpp"

#include <optional>
#include <string_view>

#include "common/hash/digest.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kDigits = 32;

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Returns nothing for an ETag that the digest could not give back exactly.
std::optional<std::array<std::byte, kDigits / 2>> digest_of(std::string_view etag) {
  if (etag.size() != kDigits + 2 || etag.front() != '"' || etag.back() != '"') return std::nullopt;
  std::array<std::byte, kDigits / 2> digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = digit_of(etag[1 + 2 * i]);
    const int low = digit_of(etag[2 + 2 * i]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.at(i) = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

}  // namespace

KnownVersions::Group* KnownVersions::group_of(BlockNumber block, bool may_evict) {
  const std::uint64_t number = block.value / kBlocksPerGroup;
  const auto found = groups_.find(number);
  if (found != groups_.end()) return &found->second;
  if (groups_.size() >= groups_max_) {
    if (!may_evict) return nullptr;
    evict();
  }
  return &groups_[number];
}

void KnownVersions::evict() {
  has_evicted_ = true;
  const auto doomed = groups_.begin();
  for (std::size_t i = 0; i < kBlocksPerGroup; ++i) {
    if (doomed->second.states.at(i) == State::certain_long) {
      long_etags_.erase(doomed->first * kBlocksPerGroup + i);
    }
  }
  disputed_ -= doomed->second.disputed.count();
  groups_.erase(doomed);
}

KnownVersions::Found KnownVersions::find(BlockNumber block) const {
  const MutexLock lock(mutex_);
  const auto group = groups_.find(block.value / kBlocksPerGroup);
  if (group == groups_.end()) return {};
  const std::size_t index = block.value % kBlocksPerGroup;
  const State state = group->second.states.at(index);
  Found found{.is_disputed = group->second.disputed.test(index)};
  switch (state) {
    case State::untouched:
    case State::forgotten:
      return found;
    case State::absent:
      found.version = ObjectVersion::absent();
      break;
    case State::certain_long:
      found.version = ObjectVersion::of(long_etags_.at(block.value));
      break;
    case State::listed:
    case State::certain:
      found.version = ObjectVersion::of('"' + to_hex(group->second.digests.at(index)) + '"');
      break;
  }
  found.is_certain = state != State::listed;
  return found;
}

void KnownVersions::set(BlockNumber block, const ObjectVersion& version) {
  const MutexLock lock(mutex_);
  assign(block, version);
}

bool KnownVersions::settle(BlockNumber block, const ObjectVersion& version) {
  const MutexLock lock(mutex_);
  assign(block, version);
  return end_dispute(block);
}

bool KnownVersions::accept(BlockNumber block, const ObjectVersion& version) {
  const MutexLock lock(mutex_);
  if (!end_dispute(block)) return false;
  assign(block, version);
  return true;
}

bool KnownVersions::dispute(BlockNumber block) {
  const MutexLock lock(mutex_);
  auto disputed = group_of(block, true)->disputed[block.value % kBlocksPerGroup];
  if (disputed) return false;
  disputed = true;
  ++disputed_;
  return true;
}

bool KnownVersions::end_dispute(BlockNumber block) {
  if (disputed_ == 0) return false;
  const auto group = groups_.find(block.value / kBlocksPerGroup);
  const std::size_t index = block.value % kBlocksPerGroup;
  if (group == groups_.end() || !group->second.disputed.test(index)) return false;
  group->second.disputed.reset(index);
  --disputed_;
  return true;
}

void KnownVersions::assign(BlockNumber block, const ObjectVersion& version) {
  const auto digest = digest_of(version.etag());
  Group& group = *group_of(block, true);
  const std::size_t index = block.value % kBlocksPerGroup;
  State& state = group.states.at(index);
  if (state == State::certain_long) long_etags_.erase(block.value);
  state = State::forgotten;
  if (version.is_absent()) {
    state = State::absent;
  } else if (digest.has_value()) {
    group.digests.at(index) = *digest;
    state = State::certain;
  } else if (version.is_present() && long_etags_.size() < kLongEtags_max) {
    long_etags_.emplace(block.value, version.etag());
    state = State::certain_long;
  }
}

void KnownVersions::learn(BlockNumber block, const std::string& etag) {
  const auto digest = digest_of(etag);
  if (!digest.has_value()) return;
  const MutexLock lock(mutex_);
  if (has_evicted_) return;
  Group* const group = group_of(block, false);
  if (group == nullptr) return;
  const std::size_t index = block.value % kBlocksPerGroup;
  if (group->states.at(index) != State::untouched) return;
  group->digests.at(index) = *digest;
  group->states.at(index) = State::listed;
}

}  // namespace nbdstack
