// The known version of every object, so that an overwrite or a removal can be made conditional on
// the version that it is meant for.
//
//   state      meaning                                      left by
//   untouched  nothing is known                             any of the events below
//   listed     a listing has shown this ETag, at some       an answer to this server's own request,
//              moment                                       or a change
//   certain    a request of this server, while it owned     a change
//              the block, was answered with this ETag, or
//              with there being no object
//   forgotten  a change is under way, or has an unknown     such an answer
//              outcome
//
// A listing may be older than a change. So it only fills in blocks that are untouched, and a change
// makes its block forgotten before it is sent.
//
// Beside its state a block may be disputed: the store has refused a change of it, because another
// writer had changed the object, and the client's request has failed for that.
//
//   disputed   left by
//   no         dispute()
//   yes        accept(), with the version that a client has read since; settle(), when a change has
//              been done after all
//
// Memory: a little more than 17 bytes an object if the ETag is 32 hex digits in quotes, as with
// most services, allocated for 64 neighbouring blocks at once. Longer ETags are kept as they are,
// for a bounded number of objects. At the limit, the versions of 64 blocks are evicted for 64
// others, and listings are ignored from then on, because one may be older than what was evicted.
//
// May be used by any thread.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "common/block/range.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/store/object_version.hpp"

namespace nbdstack {

class KnownVersions {
 public:
  // About 64 MiB: the versions of four million objects.
  static constexpr std::size_t kGroups_default = 60'000;
  static constexpr std::size_t kBlocksPerGroup = 64;
  static constexpr std::size_t kLongEtags_max = 50'000;

  explicit KnownVersions(std::size_t groups_max = kGroups_default) : groups_max_(groups_max) {}

  struct Found {
    ObjectVersion version;
    bool is_certain = false;
    bool is_disputed = false;
  };
  [[nodiscard]] Found find(BlockNumber block) const;

  // An answer to a request of the block's owner. An unknown version makes the block forgotten. A
  // disputed block remains so.
  void set(BlockNumber block, const ObjectVersion& version);
  void forget(BlockNumber block) { set(block, ObjectVersion()); }

  // Like set(), after a change of the block has been done. Returns whether it was disputed.
  bool settle(BlockNumber block, const ObjectVersion& version);

  // Returns whether it was not disputed before.
  bool dispute(BlockNumber block);
  // Any thread may call this. Does nothing and returns false if the block is not disputed.
  bool accept(BlockNumber block, const ObjectVersion& version);
  // Costs nothing while no block is disputed.
  [[nodiscard]] bool is_disputed(BlockNumber block) const {
    return disputed_.load(std::memory_order_acquire) > 0 && find(block).is_disputed;
  }

  // Takes the version in a listing of any age.
  void learn(BlockNumber block, const std::string& etag);

 private:
  enum class State : std::uint8_t { untouched, listed, certain, certain_long, absent, forgotten };
  using Digest = std::array<std::byte, 16>;

  struct Group {
    std::array<State, kBlocksPerGroup> states{};
    std::array<Digest, kBlocksPerGroup> digests{};
    std::bitset<kBlocksPerGroup> disputed{};
  };

  Group* group_of(BlockNumber block, bool may_evict) REQUIRES(mutex_);
  void evict() REQUIRES(mutex_);
  void assign(BlockNumber block, const ObjectVersion& version) REQUIRES(mutex_);
  bool end_dispute(BlockNumber block) REQUIRES(mutex_);

  const std::size_t groups_max_;
  mutable Mutex mutex_;
  std::unordered_map<std::uint64_t, Group> groups_ GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::string> long_etags_ GUARDED_BY(mutex_);
  bool has_evicted_ GUARDED_BY(mutex_) = false;
  std::atomic<std::size_t> disputed_{0};  // blocks; written with mutex_ held, read without
};

}  // namespace nbdstack
