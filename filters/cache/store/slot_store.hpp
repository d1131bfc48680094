// Stores the content of the cache's slots.
//
// The engine (engine/block_cache.hpp) decides which block is cached in which slot, and in what
// state; a store keeps the bytes. TemporaryStore loses everything with the process. DurableStore
// keeps the content and an index of it in a directory, for the next start (durable_store.hpp).
//
// There are three interfaces:
//  - SlotBytes: I/O on a slot's bytes. Never called with the engine's mutex held; may block.
//  - CacheLog: notes what becomes of slots. Called with the engine's mutex held, in the order of
//    the events; costs memory operations only and never fails. The part of the engine that calls it
//    (state/residents.hpp) knows nothing else of a store, and so does no I/O.
//  - SlotStore: both, and durability: publish() and commit(). Never called with the mutex held.
//
// The life of a slot. The engine reports each step, with its mutex held; a durable store checks it:
//
//   state    the slot                   next      by
//   free     belongs to no block        taken     taken(): it is given to a block
//   taken    belongs to a block, but    named     wrote(), zeroed()
//            the index has no note yet  dropped   dropped()
//   named    belongs to a block,        named     wrote(), zeroed(), forgotten(), cleaned()
//            according to the index     dropped   dropped()
//   dropped  belongs to no block, but   free      vacated(): the last reader or writer has gone
//            still has readers and
//            writers
//
// The states that each verb needs, and the verbs that may run beside it:
//
//   verb          in states       beside it may run
//   read          taken - dropped anything: a reader sees old or new bytes of a page that changes,
//                                 but never storage that was given back, because that waits for
//                                 vacated()
//   write, then   taken - dropped changes of other pages of the slot; reads; and any number of
//     wrote()     taken, named    commits, before, between and after the two: the write is part of
//                                 the commits that begin after wrote(). If the slot is dropped in
//                                 between, wrote() is not called.
//   forget, then  taken - dropped the same
//     zeroed(),   taken, named
//     forgotten() named
//   verify        named, dropped  reads; the engine does not change an unverified block
//   cleaned       named           a write() of the same pages that has no wrote() yet: that comes
//                                 later, and makes them dirty again
//   discard       dropped         a reader that accepts zeros: the block was zeroed or trimmed
//   commit,       -               everything
//     publish
//
// A slot that is held (the committed index still calls some of its pages dirty: durable_store.hpp)
// passes through all of these states like any other. Its storage is given back once it is both free
// and not held. A verb in a state that does not allow it is a fault of this program: it is logged,
// and every commit() fails from then on, so that no flush claims content that may be missing.
//
// The engine also guarantees:
//  - Two changes of one page never run at the same time (it owns the page in its RangeLock from
//    write() to wrote()). Changes of different pages of one slot may, and reads at any time.
//  - A slot that is read or written is pinned: it is not vacated, so not given to another block.
//  - A range of zeros is registered as on its way below before zeros_committed() is called for it:
//    while it is registered, nothing of it becomes clean (write_back_zeros.cpp).
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

// Thrown by a write() that has overwritten nothing in place: the content of the pages is unchanged.
class NothingOverwritten final : public Error {
 public:
  explicit NothingOverwritten(const Error& error) : Error(error) {}
};

// Carries the result of write() to wrote(), or that of forget() to zeroed() or forgotten().
struct WriteReceipt {
  PageMask pages = 0;
  std::shared_ptr<const void> notes{};  // read by the store only
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

// The content of a store when it was opened. Slots are distinct, blocks are distinct, and no zero
// range contains a recovered block.
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

  // Reads bytes of pages that are stored in the slot (Pages::stored).
  virtual void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) = 0;
  // Stores bytes. `stored` are the pages whose content is in the slot already. If `data` begins or
  // ends inside a page, the rest of that page is kept if the page is in `stored`, and is zeros if
  // not. Until wrote() a reader may see old or new bytes.
  virtual WriteReceipt write(Slot slot, std::span<const std::byte> data,
                             std::uint32_t offset_in_block, PageMask stored) = 0;
  // Returns the receipt for pages whose content is about to be discarded: they become zeros, or are
  // forgotten. `stored` is as above.
  virtual WriteReceipt forget(Slot /*slot*/, PageMask pages, PageMask /*stored*/) {
    return {.pages = pages};
  }
  // Gives the storage of a slot that belongs to no block back to the file system.
  virtual void discard(Slot slot) = 0;
  // Called at the first use of a recovered block. Returns whether its stored pages are intact.
  virtual bool verify(Slot /*slot*/, PageMask /*stored*/) { return true; }
};

// A store that loses everything with the process notes nothing.
class CacheLog {
 public:
  CacheLog() = default;
  CacheLog(const CacheLog&) = delete;
  CacheLog& operator=(const CacheLog&) = delete;
  virtual ~CacheLog() = default;

  // The slot belongs to a block from now on. Called before the first write().
  virtual void taken(Slot /*slot*/) {}
  // Pages contain what write() stored. Without `dirty` it was fetched from below.
  virtual void wrote(Slot /*slot*/, BlockNumber /*block*/, const WriteReceipt& /*stored*/,
                     bool /*dirty*/) {}
  // The pages of a forget() are zeros, without storage, and dirty.
  virtual void zeroed(Slot /*slot*/, BlockNumber /*block*/, const WriteReceipt& /*given_up*/,
                      bool /*may_trim*/) {}
  // The pages of a forget() are not cached any more.
  virtual void forgotten(Slot /*slot*/, const WriteReceipt& /*given_up*/) {}
  // Dirty pages have been written or zeroed below, or are not needed any more.
  virtual void cleaned(Slot /*slot*/, PageMask /*pages*/) {}
  // The slot belongs to no block. Its content may still be in use.
  virtual void dropped(Slot /*slot*/) {}
  // Its content is not in use any more either.
  virtual void vacated(Slot /*slot*/) {}
  // Whole blocks are zeros and dirty. This replaces the content of slots of these blocks: each of
  // them is reported as dropped next, in a call of its own. If a slot and a range of zeros are both
  // noted for a block, the later note is true.
  virtual void zeros_added(const Range& /*range*/, bool /*may_trim*/) {}
  // The range of zeros is discarded: it is below, or a slot has replaced it already.
  virtual void zeros_removed(const Range& /*range*/) {}
  // Returns those of the slot's dirty pages that are committed as they are now: only these may be
  // written below, so that no crash can bring back older content.
  [[nodiscard]] virtual PageMask committed(Slot /*slot*/, PageMask dirty) const { return dirty; }
  // Returns those of the slot's dirty pages that were dirty in the last commit and have changed
  // since: to write committed content below, the caller has to commit and query again.
  [[nodiscard]] virtual PageMask changed_since(Slot /*slot*/, PageMask /*dirty*/) const {
    return 0;
  }
  // Returns whether all zeros_added() in the range is committed.
  [[nodiscard]] virtual bool zeros_committed(const Range& /*range*/) const { return true; }
  // Returns whether the slot of a clean block may be given to another block. Returns false while a
  // crash would still take its old content for dirty data: until the next commit().
  [[nodiscard]] virtual bool may_reuse(Slot /*slot*/) const { return true; }
  // Returns how many blocks' worth of storage is used beyond one block for each slot.
  [[nodiscard]] virtual std::size_t extra_slots() const { return 0; }
};

class SlotStore : public SlotBytes, public CacheLog {
 public:
  // Returns whether committed content survives the process.
  [[nodiscard]] virtual bool is_durable() const { return false; }
  // Returns whether the next process will find it. Returns false if its directory was removed.
  [[nodiscard]] virtual bool is_found_again() const { return true; }
  // Returns the name of the storage, for messages.
  [[nodiscard]] virtual std::string name() const { return "the cache's temporary file"; }
  // Called once, before anything else.
  virtual Recovered recover() { return {}; }

  // Makes what the log has noted so far survive the end of the process, though not of the machine.
  virtual void publish() {}
  // Makes what the log has noted so far durable, with its content. One commit serves all callers
  // that wait for one.
  virtual void commit() {}
  // Called every few seconds by the background. After it, a start notices when something committed
  // is missing, even after a power loss. No flush waits for this.
  virtual void confirm() {}
  // Called when the server stops: leaves an index that is quick to read, with blocks in this order.
  virtual void close(std::span<const Slot> /*least_recent_first*/) {}
};

}  // namespace nbdstack
