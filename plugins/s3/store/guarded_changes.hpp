// Puts and removals of a volume's objects that do nothing when they come late.
//
// A request may be done after its answer was given up: held by a gateway, or on a network. Where
// the store keeps conditions (conditional_puts.hpp), every change is bound to the version that it is
// meant to replace:
//
//   known of the object             put is sent as      removal is sent
//   its ETag                        If-Match            with the ETag
//   that there is none              If-None-Match: *    not at all
//   nothing                         after a look        after a look
//   it has no ETag                  as it is            without a condition
//
// (Where the store keeps conditions of puts only, a removal has none and is preceded by no look. The
// first removal finds that out: removal_conditions.hpp.)
//
// A late one then fails by itself, and so does one of ours after somebody else's. What a refusal
// means:
//
//   what lies there                           means                        outcome
//   the bytes of this very put                an attempt was done, its     stored
//                                             answer lost (http_store.hpp)
//   the version that we know                  a race within the service    tried again
//   what an open change would have made, by   that one came late           tried again, over it
//    its ETag or its checksum
//   for a removal: nothing                    removed already              removed
//   anything, where only a listing has told   the listing was old, or      tried again, over what is
//    the version                              tells something else         there; ETags in listings
//                                                                          are not relied on any more
//   anything else                             somebody else wrote          Error(EIO); the block is
//                                                                          disputed
//
// A disputed block is one of which somebody else's change has been met, and reported. Nobody may have
// seen what would be lost, so further changes of it are refused too, without being sent, until
//
//   what happens                              a change then replaces
//   a client reads the block, or a part of    what the client has read
//    it: note_seen()
//   the object is again what was known, or    that
//    one of ours
//   the object is removed                     nothing; only a put of the whole block does, since the
//                                             rest of it is gone
//
// Layers above repeat writes by themselves, so that having been told once is not enough.
//
// What conditions do not cover, waiting does (open_changes.hpp): an object that becomes byte for
// byte what an unanswered change was to replace; a removal without a condition; every change of a
// store that keeps no conditions. Where an unanswered put was to create the object, whoever wants
// none there puts zeros instead (may_create()).
//
// Whoever calls owns the block, except for learn() and note_seen(). No lock is held while the store works.
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

  // The service counts by another clock, whose seconds may be longer than this machine's.
  [[nodiscard]] static constexpr Duration by_any_clock(Duration bound) {
    return bound + bound / 32;
  }

  ConditionalPuts conditions{};
  // How long the service may hold a request after its connection was given up, and so how long a
  // change waits that an open one endangers. Zero: nothing is waited for.
  // After one that the service ended itself, by an error or a broken connection, kEndedBound will do.
  std::chrono::milliseconds bound{0};
  Clock* clock = nullptr;  // none: the machine's; outlives the volume
};

class GuardedChanges {
 public:
  // `store` outlives this.
  GuardedChanges(ObjectStore& store, const ChangeGuard& guard);

  // Changes carry conditions: versions must be told.
  [[nodiscard]] bool has_conditions() const { return conditions_.honoured(); }

  // A block and the name of its object.
  struct Target {
    BlockNumber block;
    std::string key;
  };

  // What a read by the block's owner has found, who is about to change it. Throws Error(EIO) where it
  // is neither what is known nor a late change of our own: somebody else wrote it.
  ObjectVersion note_read(const Target& target, const std::optional<ObjectInfo>& object);

  // What a client that reads a disputed block is going to see. Called by anybody; does nothing where
  // the block is not disputed (any more).
  [[nodiscard]] bool is_disputed(BlockNumber block) const { return versions_.is_disputed(block); }
  void note_seen(const Target& target, const std::optional<ObjectInfo>& object);

  // A page of a listing, of any age.
  void learn(BlockNumber block, const std::string& etag);

  // `seen` is what the owner knows from elsewhere: what it has read, or that there is no object.
  void put(const Target& target, std::span<const std::byte> body, const PutOptions& options,
           const ObjectVersion& seen);

  // A removal of the block would be preceded by a look.
  [[nodiscard]] bool wants_look(BlockNumber block) const;
  // That look, beforehand: for who has many blocks to remove, and can do several at a time.
  void look(const Target& target);

  void remove(std::span<const Target> targets);

  // An unanswered put may still make an object of a block that has none. Without conditions it may
  // also overwrite one: an object of zeros would be no help, waiting is.
  [[nodiscard]] bool may_create(BlockNumber block) const {
    return has_conditions() && open_.may_create(block);
  }

  // Returns when no open change can make an object where there is none, of these blocks: for who
  // relies on there being none without changing anything. Where may_create() says that one can,
  // the caller does not rely on it, and nothing is waited for.
  void wait_until_absence_lasts(std::span<const Target> targets);

  // Of [first, end), the blocks that this or may_create() may concern.
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
  // Without those that are gone already.
  std::vector<Doomed> doomed_of(std::span<const Target> targets);
  void try_conditions(std::vector<Doomed>& doomed);
  // Both return what the store refuses, because it is another version.
  // `doubt` is told of, also where this throws.
  std::vector<std::string> send_removals(std::span<const Doomed> doomed, Condition condition,
                                         Doubt& doubt);
  std::vector<Doomed> attempt_remove(std::span<const Doomed> doomed);
  // What is to be replaced instead, after the store has refused a change over `base`.
  Base after_refusal(const Target& target, const Base& base, const ObjectVersion& wanted,
                     unsigned refusals);
  void note_doubt(const Target& target, const OpenChange& change, const Doubt& doubt);
  void stop_believing_listings(const std::string& key);
  [[nodiscard]] bool is_ours(const Target& target, const std::optional<ObjectInfo>& object) const;
  // After a failure, whether what attempts of ours may have made of the object is recognised or not.
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
