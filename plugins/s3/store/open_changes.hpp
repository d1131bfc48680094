// Changes of objects that were sent and never answered: they may have been done, may still be done,
// or will never be.
//
// One that carries a condition does nothing as long as the object is not again the version that it
// was meant to replace. One that carries none may be done over anything. So before an object becomes
// a version that an open change would replace, whoever writes waits until the bound has passed,
// counted from the end of the operation that sent it. The service is taken not to hold a request
// longer than that: not for long where it has ended the connection itself, and longer where it was
// given up for its silence (guarded_changes.hpp). What is waited for is rare where changes carry
// conditions: the object would have to become what it was before, byte for byte.
//
// One case is not rare: a PUT that was to create an object, where that object is then removed. It
// does not rest on the bound. As long as such a PUT may come, no such block is left without an
// object (block_objects.hpp): it gets one of zeros, over which the PUT does nothing.
//
//   open change            the object is about to become     wait
//   over no object         none                              none: see above
//   over version A         A                                 until the bound has passed
//   over version A         any other                         none
//   over whatever there    what that change makes of it      none: it would do no harm
//    is                    any other                         until the bound has passed
//
// What an open change would make of an object is remembered for longer, so that a late one is
// recognised as this server's own: until kRemembered after a later change has succeeded. So long is
// one that creates taken to be possible, too.
//
// Any thread. Memory grows with the changes of the last kRemembered that were not answered, and with
// the blocks whose last change failed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/clock.hpp"
#include "plugins/s3/store/object_version.hpp"

namespace nbdstack {

struct OpenChange {
  ObjectVersion over;      // unknown: whatever is there
  ObjectVersion result;    // the MD5 of the body, which is not everywhere what becomes the ETag
  std::string checksum{};  // of the body, as it is stored with it; empty: none is

  friend bool operator==(const OpenChange&, const OpenChange&) = default;
};

class OpenChanges {
 public:
  // As long as S3 services take a request's signature for valid.
  static constexpr std::chrono::minutes kRemembered{15};

  // `clock` outlives this.
  explicit OpenChanges(Clock& clock) : clock_(clock) {}

  void add(BlockNumber block, const OpenChange& change, Duration bound);

  // A change of the block has been done for certain.
  void supersede(BlockNumber block);

  // Blocks of [first, end) that there is something to wait for, perhaps.
  [[nodiscard]] std::vector<BlockNumber> blocks_in(BlockNumber first, BlockNumber end) const;

  // An open change may still make an object where there is none, and nowhere else.
  [[nodiscard]] bool may_create(BlockNumber block) const;

  // How long it must still be waited before the object may become `next`.
  [[nodiscard]] Duration time_to_wait(BlockNumber block, const ObjectVersion& next) const;

  // There is something to wait for, perhaps: saves the caller finding out what `next` would be.
  [[nodiscard]] bool has_any(BlockNumber block) const;

  // An open change has left the object like that: with such an ETag, or such a checksum.
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
  void forget_old(TimePoint now);  // mutex_ is held

  Clock& clock_;
  mutable std::mutex mutex_;  // protects everything below
  std::map<std::uint64_t, std::vector<Entry>> entries_;
  std::size_t next_cleaning_ = 64;
};

}  // namespace nbdstack
