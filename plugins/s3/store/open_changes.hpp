// Changes of objects that were sent and never answered: they may have been done, may still be done,
// or will never be.
//
// A change with a condition does nothing unless the object is again the version that it was meant
// to replace. A change without one may be done over anything. So before an object becomes a version
// that an open change would replace, the writer waits until a bound has passed, counted from the
// end of the operation that sent the change. The service is assumed not to hold a request longer:
// the bound is short if the service ended the connection itself, and longer if this side ended it
// after a silence of the service (guarded_changes.hpp). Such waits are rare if changes carry
// conditions: the object would have to become what it was before, byte by byte.
//
// One case is not rare: a PUT that was to create an object, after which that object is removed. It
// does not rest on the bound. As long as such a PUT may come, no such block is left without an
// object (block_objects.hpp): it gets one of zeros, over which the PUT does nothing.
//
//   open change            the object is about to become     wait
//   over no object         none                              none: see above
//   over version A         A                                 until the bound has passed
//   over version A         any other                         none
//   over any version       the change's result               none: it would do no harm
//   over any version       any other                         until the bound has passed
//
// The result of an open change is remembered until kRemembered after a later change has succeeded,
// so that a late one is recognised as this server's own. A PUT that creates may come as late.
//
// May be used by any thread. Memory grows with the changes of the last kRemembered that were not
// answered, and with the blocks whose last change failed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/store/object_version.hpp"

namespace nbdstack {

struct OpenChange {
  ObjectVersion over;      // unknown if the change has no condition
  ObjectVersion result;    // the MD5 of the body, which not every service uses as the ETag
  std::string checksum{};  // of the body, as stored with it; empty if none is

  friend bool operator==(const OpenChange&, const OpenChange&) = default;
};

class OpenChanges {
 public:
  // S3 services accept a request's signature for as long.
  static constexpr std::chrono::minutes kRemembered{15};

  // `clock` outlives this.
  explicit OpenChanges(Clock& clock) : clock_(clock) {}

  void add(BlockNumber block, const OpenChange& change, Duration bound);

  // A change of the block has been done for certain.
  void supersede(BlockNumber block);

  // Returns the blocks of [first, end) for which has_any() is true.
  [[nodiscard]] std::vector<BlockNumber> blocks_in(BlockNumber first, BlockNumber end) const;

  // Returns whether an open change may still create the object (it does nothing if there is one).
  [[nodiscard]] bool may_create(BlockNumber block) const;

  // Returns the time to wait before the object may become `next`.
  [[nodiscard]] Duration time_to_wait(BlockNumber block, const ObjectVersion& next) const;

  // Returns whether time_to_wait() may exceed zero for any version. If not, `next` need not be
  // computed.
  [[nodiscard]] bool has_any(BlockNumber block) const;

  // Returns whether an open change would leave the object with this ETag, or this checksum.
  [[nodiscard]] bool explains(BlockNumber block, const ObjectVersion& found,
                              const std::string& checksum = {}) const;

 private:
  struct Entry {
    OpenChange change;
    TimePoint open_until;
    bool is_superseded = false;
  };

  static bool is_old(const Entry& entry, TimePoint now) {
    return entry.is_superseded && now > entry.open_until + kRemembered;
  }
  void forget_old(TimePoint now) REQUIRES(mutex_);

  Clock& clock_;
  mutable Mutex mutex_;
  std::map<std::uint64_t, std::vector<Entry>> entries_ GUARDED_BY(mutex_);
  std::size_t next_cleaning_ GUARDED_BY(mutex_) = 64;
};

}  // namespace nbdstack
