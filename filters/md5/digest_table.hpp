// The last written content of each block of a disk, for a bounded time and number of blocks.
//
//   state     caused by                                        a read is compared with
//   -------   ----------------------------------------------   -----------------------------------
//   unknown   nothing written yet; a trim; a partial write     nothing
//             of an unknown block; a write or zero that
//             failed; expiry
//   writing   Change, before the call to the layer below       the old and the new content; nothing
//                                                              if one of them is unknown. A digest
//                                                              that is still being computed is not
//                                                              unknown: a read that does not match
//                                                              the old content waits for it
//   written   Change::commit, after the call succeeded         the new content
//
// A block without an entry is unknown. An unknown block has an entry only while it is pinned, and
// after a change if there is a minimum delay between two writes.
//
// Only a Change changes a block's state, and its caller owns the block's range (RangeLock), so a
// block has one change at a time. Everything else is guarded by the table's own mutex, which is
// never held across a call to the layer below or a sleep.
//
// Pins: a pinned entry neither expires nor is evicted. A reader pins the digests that it compares
// with, so that they cannot expire between a wrong and a right read; a writer pins the entries that
// it is about to change. Order of waiting, which excludes deadlock: for room (holding neither pins
// nor ranges), then for a range (holding pins), then for the layer below.
//
// The bound: never more than `capacity` entries. An idle entry (without pins) expires cache_time
// after its change. If cache_time is 0, it is evicted when room is needed and min_write_delay has
// passed since its change, the oldest first.
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

// The content that a read may find in a remembered block.
struct Expectation {
  Md5Digest settled{};
  std::optional<Md5Digest> coming;  // while a write is under way: both are right
  bool doubtful = false;            // `settled` may be out of date (md5_file.hpp)

  [[nodiscard]] bool accepts(const Md5Digest& found) const {
    return found == settled || found == coming;
  }
};

// A block that a change is going to touch.
struct PlannedBlock {
  BlockNumber block;
  std::uint32_t length = 0;       // of its content after the change, or 0 if that will be unknown
  std::optional<Content> before;  // its content, if known elsewhere than in the table
};

class DigestTable {
 private:
  enum class End : std::uint8_t { failed, succeeded, undone };

 public:
  struct Options {
    std::size_t capacity = 10000;    // blocks, at least 1
    Duration cache_time{};           // for ever if zero
    Duration min_write_delay{};      // at most cache_time, unless that is zero
    Duration longest_time_pinned{};  // added to the bound of waiting for room
    // If set, written blocks stay here. If a Md5File keeps them, the table is only for changes in
    // flight, and cache_time is min_write_delay.
    bool keeps_written = true;
  };

  // Keeps entries in the table as long as it lives.
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

  // The blocks of a read that are in state written or writing, in order. Those with known content
  // are pinned; the others have no expectation: until their write ends they may hold anything.
  struct Watch {
    Pins pins;
    std::vector<std::pair<BlockNumber, std::optional<Expectation>>> blocks;
  };

  // Entries for a write of the first `blocks` blocks.
  struct Reservation {
    Pins pins;
    std::uint64_t blocks;
  };

  // A change of blocks whose ranges the caller owns. From its construction to its end they are in
  // state writing. Afterwards blocks that were not announced are unknown, and without commit() all
  // are. Blocks without an entry are skipped: they are unknown before and after.
  class Change {
   public:
    Change(DigestTable& table, const std::vector<PlannedBlock>& plan);
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();
    // Sets the future content of the block, from any thread, perhaps while the layer below already
    // works. Before that, a read that does not match the old content waits for the change to end.
    void announce(BlockNumber block, const Content& content);
    void commit() { end_ = End::succeeded; }
    // The layer below has changed nothing: the blocks hold their old content.
    void undo() { end_ = End::undone; }

   private:
    DigestTable& table_;
    Pins pins_;
    End end_ = End::failed;
  };

  DigestTable(const Options& options, Clock& clock);

  [[nodiscard]] Watch watch(const Range& range, const BlockGeometry& geometry);

  // Returns the content that a block of this length must hold, or nothing if it is unknown. The
  // caller owns its range.
  [[nodiscard]] std::optional<Md5Digest> remembered(BlockNumber block, std::uint32_t length);

  // Returns entries for as many of the `count` blocks (at least 1) from `first` on as there is room
  // for. Waits for room for at least one, until the oldest entry must have expired or the server
  // stops. On timeout the reservation covers all blocks but has no entries: the write proceeds, and
  // its digests are not remembered.
  [[nodiscard]] Reservation reserve(BlockNumber first, std::uint64_t count);

  // Entries for as many blocks as there is room for without waiting, in half of the table only: a
  // cheap change of many blocks (zeroing) must not make later writes wait.
  [[nodiscard]] Pins reserve_if_free(BlockNumber first, std::uint64_t count);

  // Returns those of the `count` blocks from `first` on that have entries, in no order.
  [[nodiscard]] std::vector<BlockNumber> entries_in(BlockNumber first, std::uint64_t count) const;

  // Returns when the minimum delay since the last change is over for all of these blocks.
  [[nodiscard]] TimePoint may_change_at(BlockNumber first, std::uint64_t count) const;

  // Makes all blocks unknown, also those being written when their write ends. Delays are kept.
  void forget_all();

  [[nodiscard]] std::size_t size() const;

 private:
  enum class State : std::uint8_t { unknown, writing, written };

  // Idle entries by the time of their change.
  using ByAge = std::set<std::pair<TimePoint, BlockNumber>>;

  struct Entry {
    State state = State::unknown;
    std::uint32_t pins = 0;
    std::optional<Content> settled;   // written: the present content; writing: the former one
    std::uint32_t coming_length = 0;  // writing: the length of `coming`; 0 if it will be unknown
    std::optional<Content> coming;    // writing: the future content, once announced
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
  const Duration retention_;  // the least age of an idle entry that is removed
  Clock& clock_;

  mutable Mutex mutex_;
  Entries entries_ GUARDED_BY(mutex_);
  ByAge by_age_ GUARDED_BY(mutex_);  // exactly the entries without pins
};

}  // namespace nbdstack
