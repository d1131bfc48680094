// Puts and removals of a volume's objects that have no effect when they arrive late.
//
// The store may execute a request after its caller has given it up: a gateway or a network held it.
// If the store honours conditions (conditional_puts.hpp), every change is bound to the version that
// it is meant to replace:
//
//   known about the object          put is sent         removal is sent
//   its ETag                        with If-Match       with the ETag
//   that there is none              If-None-Match: *    not at all
//   nothing                         after a query       after a query
//   it has no ETag                  unconditionally     without a condition
//
// (If the store honours conditions of puts only, a removal has none, and no query precedes it. The
// first removal finds that out: removal_conditions.hpp.)
//
// A late change then fails, and so does one of ours after another writer's. A refusal means:
//
//   the object now                            meaning                      outcome
//   the bytes of this very put                an attempt was executed,     stored
//                                             its answer was lost
//   the version that we know                  a race within the service    retried
//   the result of an open change, by its      that change came late        retried, over it
//    ETag or its checksum
//   for a removal: nothing                    removed already              removed
//   anything, if the version is known only    the listing was old, or      retried, over what is
//    from a listing                           has other ETags              there; ETags in listings
//                                                                          are not trusted any more
//   anything else                             another writer's             Error(EIO); the block is
//                                                                          disputed
//
// A disputed block is one in which another writer's change was met and reported. A client may not
// have seen what would be lost, so further changes of it are refused too, without being sent, until
//
//   event                                     a change then replaces
//   a client reads the block, or a part of    what the client has read
//    it: note_seen()
//   the object is again the known one, or     that one
//    one of ours
//   the object is removed                     nothing; only a put of the whole block works, since
//                                             the rest of it is lost
//
// One report is not enough, because layers above repeat writes themselves.
//
// Waiting covers what conditions do not (open_changes.hpp): an object that becomes byte for byte
// what an unanswered change was to replace; a removal without a condition; every change in a store
// without conditions. If an unanswered put may still create an object, a caller that wants none
// there puts zeros instead (may_create()).
//
// The caller owns the block, except for learn() and note_seen(). No lock is held during requests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/known_versions.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/object_version.hpp"
#include "plugins/s3/store/open_changes.hpp"
#include "plugins/s3/store/removal_conditions.hpp"

namespace nbdstack {

struct ChangeGuard {
  static constexpr std::chrono::seconds kEndedBound{2};

  // The service's clock may have longer seconds than this machine's.
  [[nodiscard]] static constexpr Duration by_any_clock(Duration bound) {
    return bound + bound / 32;
  }

  ConditionalPuts conditions{};
  // The longest time for which the service may hold a request after its connection was given up,
  // and so the wait of a change that an open one endangers. No change waits if it is zero. After a
  // change that the service ended by an error or a broken connection, kEndedBound suffices.
  std::chrono::milliseconds bound{0};
  Clock* clock = nullptr;  // the machine's if null; outlives the volume
};

class GuardedChanges {
 public:
  // `store` outlives this.
  GuardedChanges(ObjectStore& store, const ChangeGuard& guard);

  // Returns whether changes have conditions, so that versions must be known.
  [[nodiscard]] bool has_conditions() const { return conditions_.honoured(); }

  // A block and the name of its object.
  struct Target {
    BlockNumber block;
    std::string key;
  };

  // Called when the block's owner has read it in order to change it. Throws Error(EIO) if the
  // object is neither the known one nor a late change of our own: another writer changed it.
  ObjectVersion note_read(const Target& target, const std::optional<ObjectInfo>& object);

  // Called before a client receives a disputed block. Any thread may call it; it does nothing if
  // the block is not disputed (any more).
  [[nodiscard]] bool is_disputed(BlockNumber block) const { return versions_.is_disputed(block); }
  void note_seen(const Target& target, const std::optional<ObjectInfo>& object);

  // Called for the blocks of a page of a listing, of any age.
  void learn(BlockNumber block, const std::string& etag);

  // `seen` is what the owner knows: the version that it has read, or that there is no object.
  void put(const Target& target, std::span<const std::byte> body, const PutOptions& options,
           const ObjectVersion& seen);

  // Returns whether a query would precede a removal of the block.
  [[nodiscard]] bool wants_look(BlockNumber block) const;
  // Does that query beforehand: a caller with many blocks to remove can do several at a time.
  void look(const Target& target);

  void remove(std::span<const Target> targets);

  // Returns whether an unanswered put may still create an object of a block that has none. Without
  // conditions it may also overwrite one: then only waiting helps, and no object of zeros.
  [[nodiscard]] bool may_create(BlockNumber block) const {
    return has_conditions() && open_.may_create(block);
  }

  // Returns when no open change can create an object of these blocks any more: for a caller that
  // relies on their absence without changing anything. If may_create() is true of a block, the
  // caller does not rely on it, and this does not wait.
  void wait_until_absence_lasts(std::span<const Target> targets);

  // Returns the blocks of [first, end) that this or may_create() may concern.
  [[nodiscard]] std::vector<BlockNumber> open_blocks(BlockNumber first, BlockNumber end) const {
    return open_.blocks_in(first, end);
  }

 private:
  struct Base {
    ObjectVersion version;
    bool is_certain = false;
  };
  struct Doomed {
    Target target;
    Base base;
  };

  enum class Condition : std::uint8_t { its_own, nobodys, none };

  Base base_of(const Target& target, std::span<const std::byte> body, const ObjectVersion& seen);
  PutOutcome attempt_put(const Target& target, std::span<const std::byte> body, PutOptions options,
                         const Base& base);
  // Returns the targets except those that are removed already.
  std::vector<Doomed> doomed_of(std::span<const Target> targets);
  void try_conditions(std::vector<Doomed>& doomed);
  // Both return what the store refuses because it is another version. `doubt` is set, even if this
  // throws.
  std::vector<std::string> send_removals(std::span<const Doomed> doomed, Condition condition,
                                         Doubt& doubt);
  std::vector<Doomed> attempt_remove(std::span<const Doomed> doomed);
  // Returns what to replace instead, after the store has refused a change over `base`.
  Base after_refusal(const Target& target, const Base& base, const ObjectVersion& wanted,
                     unsigned refusals);
  void note_doubt(const Target& target, const OpenChange& change, const Doubt& doubt);
  void stop_believing_listings(const std::string& key);
  [[nodiscard]] bool is_ours(const Target& target, const std::optional<ObjectInfo>& object) const;
  // Called after a failure. `is_recognised`: our attempts' result would be recognised.
  void restore(const Target& target, const Base& base, bool is_recognised = true);
  void note_done(const Target& target, const ObjectVersion& version);
  void wait_until_harmless(const Target& target, const ObjectVersion& next);

  ObjectStore& store_;
  const ConditionalPuts conditions_;
  RemovalConditions removals_;
  const std::chrono::milliseconds bound_;
  Clock& clock_;
  std::atomic<bool> believes_listings_{true};
  KnownVersions versions_;
  OpenChanges open_;
};

}  // namespace nbdstack
