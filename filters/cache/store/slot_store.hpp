// Where the content of the cache's slots lies, and what of it survives the process.
//
// The engine (engine/block_cache.hpp) decides what is cached where and in what state; a store keeps bytes.
// TemporaryStore forgets everything with the process. DurableStore keeps the content and an index
// of it in a directory, for the next start (durable_store.hpp).
//
// The verbs are three interfaces:
//  - SlotBytes: I/O on a slot's bytes. Never called with the engine's mutex held; may block.
//  - CacheLog: hears what has become of a slot. Called with the engine's mutex held, in the order in
//    which things happened; costs memory operations only and never fails. The part of the engine
//    that tells it so (state/residents.hpp) knows nothing else of a store, and so does no I/O.
//  - SlotStore: both, and durability: publish() and commit(). Never called with the mutex held.
//
// The life of a slot. The engine says each step, with its mutex held; a durable store checks it:
//
//   state    the slot               next             by
//   free     is nobody's            taken            taken(): a block has got it
//   taken    is a block's, nothing  named            wrote(), zeroed()
//            has been noted of it   dropped          dropped()
//   named    is a block's, as the   named            wrote(), zeroed(), forgotten(), cleaned()
//            index says             dropped          dropped()
//   dropped  is no block's, but is  free             vacated(): the last one has gone
//            still used by readers
//            and writers
//
// Who may do what, and what the other side has to expect meanwhile:
//
//   verb          in states       beside it may run
//   read          taken - dropped anything: a reader sees old or new bytes of a page that changes,
//                                 and never storage that was given back, because that waits for
//                                 vacated()
//   write, then   taken - dropped changes of other pages of the slot; reads; and any number of
//     wrote()     taken, named    commits, before, between and after the two: what write() did is
//                                 part of the commits that begin after wrote(). Where the slot has
//                                 been dropped in between, there is no wrote().
//   forget, then  taken - dropped the same
//     zeroed(),   taken, named
//     forgotten() named
//   verify        named, dropped  reads; the engine lets nobody change a block before it is verified
//   cleaned       named           a write() of the same pages that has no wrote() yet: that comes
//                                 later, and makes them dirty again
//   discard       dropped         a reader that does not mind zeros: the block was zeroed or trimmed
//   commit,       -               everything
//     publish
//
// A slot whose pages a committed index still calls dirty (held: durable_store.hpp) goes through all
// of these states like any other; its storage is given back when it is both free and not held, and
// that alone decides. A state that a verb does not allow is a fault of this program: it is logged,
// and every commit() fails from then on, so that no flush claims what may not be there.
//
// What the engine guarantees besides:
//  - two changes of one page never run at the same time (it owns the page in its RangeLock from
//    write() to wrote()), but changes of different pages of one slot do, and reads at any time;
//  - a slot that is read or written is pinned: it is not vacated meanwhile, and so does not become
//    another block's;
//  - a range of zeros is registered as on its way below before it is asked whether it is committed:
//    while it is, nothing of it becomes clean (write_back_zeros.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/block/range.hpp"
#include "common/error.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

// Thrown by write() where nothing was overwritten in place: the pages hold what they held.
class NothingOverwritten final : public Error {
 public:
  explicit NothingOverwritten(const Error& error) : Error(error) {}
};

// What write() has put into a slot, on its way to wrote(); or what forget() has looked at, on its way
// to zeroed() or forgotten().
struct WriteReceipt {
  PageMask pages = 0;
  std::shared_ptr<const void> notes{};  // the store's own business
};

struct RecoveredBlock {
  Slot slot = kNoSlot;
  BlockNumber block;
  Pages pages;
};

struct RecoveredZeros {
  Range range;
  bool may_trim = false;
};

// What a store found when it was opened. Slots are distinct, blocks are distinct, and zero ranges
// contain no recovered block.
struct Recovered {
  std::vector<RecoveredBlock> blocks;  // least recently used first, as far as that is known
  std::vector<RecoveredZeros> zeros;   // dirty, whole blocks
  Slot slots = 0;                      // one more than the highest slot in use
};

class SlotBytes {
 public:
  SlotBytes() = default;
  SlotBytes(const SlotBytes&) = delete;
  SlotBytes& operator=(const SlotBytes&) = delete;
  virtual ~SlotBytes() = default;

  // The bytes of pages that are stored in the slot (Pages::stored).
  virtual void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) = 0;
  // Stores bytes. Where `data` begins or ends inside a page, the rest of that page is kept if the
  // page is in `stored`, the pages whose content lies in the slot already, and is zeros if not.
  // Nobody sees the new content for certain before wrote().
  virtual WriteReceipt write(Slot slot, std::span<const std::byte> data,
                             std::uint32_t offset_in_block, PageMask stored) = 0;
  // What write() would say of pages whose content is about to be given up: they become zeros or are
  // forgotten. `stored` as above.
  virtual WriteReceipt forget(Slot /*slot*/, PageMask pages, PageMask /*stored*/) {
    return {.pages = pages};
  }
  // Gives the storage of a slot that belongs to no block back to the file system.
  virtual void discard(Slot slot) = 0;
  // The first use of a block since it was recovered: whether its stored pages are what was written.
  virtual bool verify(Slot /*slot*/, PageMask /*stored*/) { return true; }
};

// A store that forgets everything with the process hears nothing.
class CacheLog {
 public:
  CacheLog() = default;
  CacheLog(const CacheLog&) = delete;
  CacheLog& operator=(const CacheLog&) = delete;
  virtual ~CacheLog() = default;

  // The slot is a block's from now on. Comes before the first write().
  virtual void taken(Slot /*slot*/) {}
  // Pages hold what write() stored. Not dirty: it came from below.
  virtual void wrote(Slot /*slot*/, BlockNumber /*block*/, const WriteReceipt& /*stored*/,
                     bool /*dirty*/) {}
  // Pages that forget() has looked at are zeros, without storage, and dirty.
  virtual void zeroed(Slot /*slot*/, BlockNumber /*block*/, const WriteReceipt& /*given_up*/,
                      bool /*may_trim*/) {}
  // The same, and they are not cached any more.
  virtual void forgotten(Slot /*slot*/, const WriteReceipt& /*given_up*/) {}
  // Dirty pages have been written or zeroed below, or are of no interest any more.
  virtual void cleaned(Slot /*slot*/, PageMask /*pages*/) {}
  // The slot belongs to no block. Its content may be in use still.
  virtual void dropped(Slot /*slot*/) {}
  // And nobody uses its content any more.
  virtual void vacated(Slot /*slot*/) {}
  // Whole blocks are zeros and dirty. This takes the place of whatever slots hold of these blocks:
  // such slots are reported as dropped next, in a call of their own. Of a slot and a range of zeros
  // that both speak of a block, the later word is true.
  virtual void zeros_added(const Range& /*range*/, bool /*may_trim*/) {}
  // They are not remembered as a range any more: they are below, or a slot has already taken over.
  virtual void zeros_removed(const Range& /*range*/) {}
  // Which of the slot's dirty pages, as they are now, have been committed: only these may go below,
  // so that no crash can bring back what was there before.
  [[nodiscard]] virtual PageMask committed(Slot /*slot*/, PageMask dirty) const { return dirty; }
  // Which of the slot's dirty pages were dirty in what was committed, too, and have been changed
  // since: whoever was promised that the committed ones go below must commit and look again.
  [[nodiscard]] virtual PageMask changed_since(Slot /*slot*/, PageMask /*dirty*/) const {
    return 0;
  }
  // Whether all zeros_added() in the range has been committed: the same for ranges of zeros.
  [[nodiscard]] virtual bool zeros_committed(const Range& /*range*/) const { return true; }
  // Whether the slot of a clean block may be given to another one. False while a crash would still
  // take its old content for dirty data: until the next commit().
  [[nodiscard]] virtual bool may_reuse(Slot /*slot*/) const { return true; }
  // How many blocks' worth of storage is used beyond one block a slot.
  [[nodiscard]] virtual std::size_t extra_slots() const { return 0; }
};

class SlotStore : public SlotBytes, public CacheLog {
 public:
  // Whether what is committed survives the process.
  [[nodiscard]] virtual bool is_durable() const { return false; }
  // Whether the next process will find it, too. Not where its directory was removed meanwhile.
  [[nodiscard]] virtual bool is_found_again() const { return true; }
  // For messages: where the content lies.
  [[nodiscard]] virtual std::string name() const { return "the cache's temporary file"; }
  // Asked once, before anything else.
  virtual Recovered recover() { return {}; }

  // What the index has been told so far survives the end of the process, though not of the machine.
  virtual void publish() {}
  // What the index has been told so far, and the content it speaks of, is durable. One commit
  // serves everybody who waits for one.
  virtual void commit() {}
  // Called every few seconds, by the background: makes it certain, even after a power loss, that a
  // start notices when something is missing of what has been committed. No flush waits for this.
  virtual void confirm() {}
  // The server stops: leaves an index that is quick to read, with the blocks in this order.
  virtual void close(std::span<const Slot> /*least_recent_first*/) {}
};

}  // namespace nbdstack
