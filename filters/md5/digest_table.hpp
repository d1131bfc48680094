// What each block of a disk was last written with, for as long as that is worth knowing.
//
//   state     brought about by                                 a read is held against
//   -------   ----------------------------------------------   -----------------------------------
//   unknown   nothing written yet; a trim; a partial write     nothing
//             of an unknown block; a write or zero that
//             failed; expiry
//   writing   Change, before the call to the layer below       what was there or what is coming,
//                                                              whichever it finds; nothing when
//                                                              one of the two is unknown. A digest
//                                                              that is still being computed is no
//                                                              unknown one: the read waits where
//                                                              it finds something else
//   written   Change::commit, after the call succeeded         what was written, alone
//
// A block without an entry is unknown. An unknown block has an entry only while somebody pins it,
// and after a change where a minimum delay between two writes has to be kept.
//
// Who changes what: a block changes its state only by a Change, made by whoever owns the block's
// range (RangeLock); so one change of a block is under way at a time. Everything else is under the
// table's own mutex, which is never held across a call to the layer below or a sleep.
//
// Pins: an entry that is pinned neither expires nor makes room for another. A reader pins what it
// judges by, so that a digest cannot expire between finding a block wrong and finding it right; a
// writer pins what it is about to change. Order of waiting, which excludes deadlock: for room
// (holding neither pins nor ranges), then for a range (holding pins), then for the layer below.
//
// The bound: never more than `capacity` entries. An idle entry (no pins) goes when its time is
// over: cache_time after its change, or, where that is 0 and digests are kept for ever, when room
// is needed and min_write_delay has passed since its change; the oldest goes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/block/range.hpp"
#include "common/hash/digest.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "filters/md5/md5_file_record.hpp"

namespace nbdstack {

// What a read may find in a block that is remembered.
struct Expectation {
  Md5Digest settled{};
  std::optional<Md5Digest> coming;  // while a write is under way: either is right
  bool doubtful = false;            // settled may be out of date (md5_file.hpp)

  [[nodiscard]] bool accepts(const Md5Digest& found) const {
    return found == settled || found == coming;
  }
};

// A block of a change.
struct PlannedBlock {
  BlockNumber block;
  std::uint32_t length = 0;       // of what will be known of it; 0: it will be unknown
  std::optional<Content> before;  // what is known of it where the table knows nothing
};

class DigestTable {
 private:
  enum class End : std::uint8_t { failed, succeeded, undone };

 public:
  struct Options {
    std::size_t capacity = 10000;    // blocks, at least 1
    Duration cache_time{};           // zero: for ever
    Duration min_write_delay{};      // at most cache_time, where that is not zero
    Duration longest_time_pinned{};  // added to the bound of waiting for room
    // Whether what was written stays here. Where a Md5File keeps it, the table is for what is
    // under way only, and cache_time is min_write_delay.
    bool keeps_written = true;
  };

  // Keeps entries where they are for as long as it lives.
  class Pins {
   public:
    explicit Pins(DigestTable& table) : table_(&table) {}
    Pins(Pins&& other) noexcept : table_(other.table_), blocks_(std::move(other.blocks_)) {
      other.blocks_.clear();
    }
    Pins& operator=(Pins&&) = delete;
    ~Pins() { table_->unpin(blocks_); }

   private:
    friend class DigestTable;
    DigestTable* table_;
    std::vector<BlockNumber> blocks_;
  };

  // The blocks of a read that are written or being written, in order. Those whose content is known
  // are pinned; nothing: what is being written may be anything until it is.
  struct Watch {
    Pins pins;
    std::vector<std::pair<BlockNumber, std::optional<Expectation>>> blocks;
  };

  // Entries for a write: `blocks` from the first on may be written.
  struct Reservation {
    Pins pins;
    std::uint64_t blocks;
  };

  // A change of blocks whose ranges the caller owns. From its construction to its end they are in
  // state writing; without commit() they are unknown in the end, as are those of which nothing was
  // announced. Blocks without an entry are passed over: they are unknown before and after.
  class Change {
   public:
    Change(DigestTable& table, const std::vector<PlannedBlock>& plan);
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();
    // What the block will hold: from any thread, while the layer below may be at work already. Until
    // then a read that finds neither this nor what was there waits for the change to end.
    void announce(BlockNumber block, const Content& content);
    void commit() { end_ = End::succeeded; }
    // Nothing has happened: what was there still is.
    void undo() { end_ = End::undone; }

   private:
    DigestTable& table_;
    Pins pins_;
    End end_ = End::failed;
  };

  DigestTable(const Options& options, Clock& clock);

  [[nodiscard]] Watch watch(const Range& range, const BlockGeometry& geometry);

  // What a block of this length must hold; nothing when it is unknown. The caller owns its range.
  [[nodiscard]] std::optional<Md5Digest> remembered(BlockNumber block, std::uint32_t length);

  // Entries for as many of the `count` blocks from `first` on as there is room for. Waits until
  // that is at least one; bounded by the time after which the oldest entry must have gone, and by
  // the end of the server. Who has waited that long in vain gets all blocks and no entries: the
  // write goes on and is not remembered. `count` is at least 1.
  [[nodiscard]] Reservation reserve(BlockNumber first, std::uint64_t count);

  // Entries for as many blocks as there is room for without waiting, in half of the table only: who
  // changes much at no cost must not make the writes that follow wait.
  [[nodiscard]] Pins reserve_if_free(BlockNumber first, std::uint64_t count);

  // Those of the `count` blocks from `first` on that have entries, in any order.
  [[nodiscard]] std::vector<BlockNumber> entries_in(BlockNumber first, std::uint64_t count) const;

  // When the minimum delay since the last change of each of these blocks is over.
  [[nodiscard]] TimePoint may_change_at(BlockNumber first, std::uint64_t count) const;

  // Nothing is known any more, and what is being written will not be. Delays are kept.
  void forget_all();

  [[nodiscard]] std::size_t size() const;

 private:
  enum class State : std::uint8_t { unknown, writing, written };

  // Idle entries by the time of their change.
  using ByAge = std::set<std::pair<TimePoint, BlockNumber>>;

  struct Entry {
    State state = State::unknown;
    std::uint32_t pins = 0;
    std::optional<Content> settled;       // written: what is there; writing: what was there
    std::uint32_t coming_length = 0;      // writing: of what will be known; 0: nothing will
    std::optional<Content> coming;        // writing: what will be there, once that is announced
    std::optional<TimePoint> changed_at;  // end of the last change
    ByAge::node_type age;                 // its place in by_age_, kept here while it is pinned
  };
  using Entries = std::unordered_map<BlockNumber, Entry>;

  [[nodiscard]] bool expires() const { return options_.cache_time > Duration::zero(); }

  Entries::iterator find_current(BlockNumber block) REQUIRES(mutex_);
  [[nodiscard]] bool is_over(TimePoint changed_at) const;
  static std::optional<Expectation> expectation_of(const Entry& entry, std::uint32_t length);
  [[nodiscard]] bool is_worth_keeping(const Entry& entry) const;
  bool make_room(std::size_t limit) REQUIRES(mutex_);
  Entries::iterator create(BlockNumber block) REQUIRES(mutex_);
  void pin(Entries::iterator entry, Pins& pins) REQUIRES(mutex_);
  void release(Entries::iterator entry) REQUIRES(mutex_);
  static void begin(Entry& entry, const PlannedBlock& planned);
  static void settle(Entry& entry, End end, TimePoint now);
  std::uint64_t take(BlockNumber first, std::uint64_t count, std::size_t limit, Pins& pins)
      REQUIRES(mutex_);
  template <typename Visit>
  void for_each_in(BlockNumber first, std::uint64_t count, Visit&& visit) const REQUIRES(mutex_);

  void unpin(const std::vector<BlockNumber>& blocks);
  bool wait_for_room(TimePoint deadline);

  const Options options_;
  const Duration retention_;  // after which an idle entry may go
  Clock& clock_;

  mutable Mutex mutex_;
  Entries entries_ GUARDED_BY(mutex_);
  ByAge by_age_ GUARDED_BY(mutex_);  // exactly the entries without pins
};

}  // namespace nbdstack
