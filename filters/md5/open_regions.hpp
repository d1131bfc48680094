// Tells which records of an md5-file may be older than the disk if the server or machine stops now.
//
// The disk and the md5-file are changed one after the other, and a crash may come between. So
// before the first change of a region's blocks the region is put on a list in the file, durably; it
// is removed when the layer below and the records are both flushed. After a crash the regions on
// the list are doubted: records that do not match prove nothing. (DRBD's activity log and md's
// write-intent bitmap do the same.)
//
//   state      on the list as            caused by                             may leave the list
//   --------   -----------------------   -----------------------------------   --------------------
//   closed     anything                  getting a place; a disk failure       no
//   opening    open, perhaps             open(), until the list is synced      no
//   open       open                      the list was synced                   no
//   settling   either                    settle(), until the file is synced    no
//   settled    settled, with checksum    the file was synced                   yes
//
// A settled entry has a checksum of the region's records, so that one sync makes records and entry
// durable, in any order: an entry whose checksum does not fit counts as open.
//
// open() is a group commit: one caller writes and syncs the entries of all callers that wait.
//
// A failed sync may have lost the writes of others. So the records of every region that is not
// settled are written again before it is settled, and entries before they are relied on.
//
// The list has 1,024 entries of 32 bytes: region + 1 (0 if free), state, checksum of the records,
// checksum of the entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/io/directory.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class OpenRegions {
 public:
  static constexpr std::size_t kEntries = 1024;
  static constexpr std::size_t kEntry_bytes = 32;

  // Consecutive regions; at most kRegionsAtOnce_max of them.
  struct Regions {
    std::uint64_t first;
    std::uint64_t count;
  };
  static constexpr std::uint64_t kRegionsAtOnce_max = kEntries / 2;

  // Keeps regions open, for a change of their blocks, as long as it lives.
  class Hold {
   public:
    Hold(OpenRegions& owner, const Regions& regions) : owner_(&owner), regions_(regions) {}
    Hold(Hold&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), regions_(other.regions_) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (owner_ != nullptr) owner_->release(regions_);
    }

   private:
    OpenRegions* owner_;
    Regions regions_;
  };

  // Regions without a change at some moment, and the number of changes that each had had.
  using Quiet = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

  // `file` outlives this object. The list starts as empty.
  OpenRegions(StorageFile& file, std::uint64_t seed) : file_(file), seed_(seed) {}

  // Returns the regions on the list of an unused file that must be doubted: open ones, and settled
  // ones with a wrong checksum; with `only` at most this region. Throws Error(EINVAL) for a damaged
  // entry. For a file in use: returns the regions that its server has not settled, or throws that
  // Error if it is just writing an entry.
  [[nodiscard]] std::vector<std::uint64_t> doubted(
      std::optional<std::uint64_t> only = std::nullopt) const;
  // Empties the list, durably.
  void clear();

  // Makes the regions open, durably, until the Hold ends. Returns nothing if the list has no place
  // for all of them before some are settled. Errors are the disk's.
  [[nodiscard]] std::optional<Hold> open(const Regions& regions);

  // Called before the layer below is flushed.
  [[nodiscard]] Quiet quiet() const;
  // Called after the flush: settles those regions that have not been changed since, or waits for
  // another caller that does.
  void settle(const Quiet& quiet);
  // Makes all writes durable. Errors are the disk's.
  void sync();
  // Waits until a Hold has ended, if there is any.
  void wait_for_release();

 private:
  enum class State : std::uint8_t { closed, opening, open, settling, settled };
  struct Region {
    std::size_t entry = 0;  // its place on the list
    State state = State::closed;
    std::uint64_t holds = 0;
    std::uint64_t changes = 0;  // number of holds that ever existed
    bool rewrite = false;       // the records, because a sync has failed
    // The node with its number moves to settled_ and back, so that no change of state allocates.
    std::list<std::uint64_t> node;
    std::list<std::uint64_t>::iterator age;  // that node
  };
  struct Chosen {
    std::uint64_t region;
    std::size_t entry;
    bool rewrite;
  };
  using Table = std::unordered_map<std::uint64_t, Region>;

  bool find_places(const Regions& regions) REQUIRES(mutex_);
  std::size_t take_place(const Regions& regions) REQUIRES(mutex_);
  [[nodiscard]] bool any_is(const Regions& regions, State state) const REQUIRES(mutex_);
  void open_pending() REQUIRES(mutex_);  // releases the mutex meanwhile
  [[nodiscard]] static bool is_untouched(const Region& region, std::uint64_t changes);
  [[nodiscard]] bool any_untouched_is(const Quiet& quiet, State state) const REQUIRES(mutex_);
  std::vector<Chosen> choose(const Quiet& quiet) REQUIRES(mutex_);
  void set_state(std::uint64_t region, State state) REQUIRES(mutex_);

  void release(const Regions& regions);
  void settle_chosen(const std::vector<Chosen>& chosen);
  void rewrite_records(std::uint64_t region) const;
  void write_entry(std::size_t entry, std::uint64_t region, bool settled) const;
  [[nodiscard]] std::uint64_t checksum_of_records(std::uint64_t region) const;

  StorageFile& file_;
  const std::uint64_t seed_;

  mutable Mutex mutex_;  // never held across I/O
  ConditionVariable changed_;
  Table regions_ GUARDED_BY(mutex_);
  std::size_t used_entries_ GUARDED_BY(mutex_) = 0;  // entries from here on have never been used
  std::list<std::uint64_t> settled_ GUARDED_BY(mutex_);  // longest ago first
  // Region and entry of each that is to be opened next.
  std::vector<std::pair<std::uint64_t, std::size_t>> pending_ GUARDED_BY(mutex_);
  bool is_opening_ GUARDED_BY(mutex_) = false;  // a caller writes what was pending before
  bool syncing_ GUARDED_BY(mutex_) = false;
  std::uint64_t failed_syncs_ GUARDED_BY(mutex_) = 0;
  std::exception_ptr failure_ GUARDED_BY(mutex_);  // of the last failed open
  std::uint64_t held_ GUARDED_BY(mutex_) = 0;      // Holds that exist
  std::uint64_t releases_ GUARDED_BY(mutex_) = 0;  // Holds that have ended
};

}  // namespace nbdstack
