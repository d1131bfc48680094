// Passes a volume's knowledge about its blocks from one owner to the next: in the record of
// block_record.hpp in a store.
//
//   server                     at the start                     at the end
//   owner of the lease         recall(): one GET, none for a    remember(): one PUT, if the object
//                              new volume                       is still the known one
//   read-only                  recall(), true until a write     nothing
//                              (unchanged_since.hpp)
//   without lease (own=none)   begin_unowned(): one PUT         end_unowned(): one PUT
//
// Writers without a lease do not know of each other, so each replaces the record by a mark. An
// owner that finds a mark trusts nothing, and leaves it, because its writer may outlast the owner.
// A mark that was put while the owner wrote stays for the next owner, even if its server has ended
// by then. A mark whose process has ended on this machine is replaced.
//
// All this is for stores whose listings are no proof (ObjectStore::lists_are_proof).
//
// Called by one thread at a time.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/blocks/block_record.hpp"
#include "plugins/s3/lease/lease_object.hpp"
#include "plugins/s3/lease/process_identity.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct RememberedVolume {
  std::string place;  // for messages
  std::string key;
  std::string id;  // of its descriptor
  std::uint64_t block_count = 0;
};

class BlockMemory {
 public:
  // `processes` outlives this.
  BlockMemory(RememberedVolume volume, const Processes& processes);

  // Returns what is certain for the new owner of the lease, taken from `predecessor` (nothing if
  // there was no lease). Does not throw: what cannot be read is not known.
  KnownBlocks recall(ObjectStore& store, const std::optional<SeenLease>& predecessor);

  // Returns the record that recall() has found, if recall() has returned anything.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& seen_etag() const { return seen_->etag; }

  // Called after the last change of a block, while `owner` still has the lease; the store honours
  // conditions as given. Failures are logged: the next owner knows less.
  void remember(ObjectStore& store, const ConditionalPuts& conditions, const std::string& owner,
                KnownBlocks blocks);

  // Throws the store's errors.
  void begin_unowned(ObjectStore& store);
  // Failures are logged.
  void end_unowned(ObjectStore& store);

 private:
  struct Seen {
    std::string etag;
    std::optional<BlockRecord> record;  // nothing if it is not understood
  };

  std::optional<Seen> read(ObjectStore& store) const;
  // Returns whether it is the mark of a server that writes, or has written, without a lease.
  [[nodiscard]] bool is_mark(const Seen& seen) const;
  // Returns whether such a server may be writing now.
  [[nodiscard]] bool is_claimed(const std::optional<Seen>& seen) const;
  void put_unowned(ObjectStore& store, BlockRecord::State state);

  const RememberedVolume volume_;
  const Processes& processes_;
  const std::string name_;
  std::optional<Seen> seen_;
  std::string unowned_;  // the owner in our own mark
};

}  // namespace nbdstack
