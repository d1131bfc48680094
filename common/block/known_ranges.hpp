// The known types (data, a hole, zeros) of a disk's ranges while changes and queries are in flight.
//
//   event       before it is sent               after success        after failure
//   a change    as its owner sets it: only      as commit() tells    unknown
//               "data" may be known
//   a query     -                               as in the reply      unchanged
//
// "Data" may be known of anything: at worst zeros are read. "Hole" or "zeros" must never be known
// of data, and two rules prevent that:
//
//  - A reply may be older than a change. Each query notes the changes that overlap it in time,
//    wholly or in part, and learns nothing about their ranges from its reply.
//  - Two changes of one range may reach the disk in either order. The result of a change is known
//    only where no other change overlapped it in time.
//
// If the connections below do not see each other's writes at once (View::own_connection), a reply
// may even be older than a change that ended before the query: then nothing is ever learnt about
// ranges that were changed.
//
// Memory is bounded by runs, at most `runs_max` (some 64 bytes each). Beyond that, runs are
// forgotten in turn from the disk's beginning to its end, and round again; runs that are being
// learnt come last. A query with more than `disturbed_max` disturbed parts learns nothing. No bound
// depends on the size of the disk.
//
// Any thread may call. mutex_ protects everything and is never held while the layer below works.
// Without memory a query or a change does not begin (std::bad_alloc); later, less is known.
//
// (The S3 plugin's PresenceMap knows ranges, too, and needs none of this: there a changed block
// never becomes unknown again, so no query has to be noted.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/block/extents.hpp"
#include "common/block/run_map.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class KnownRanges {
 protected:
  // A query or a change, from before it is sent until after it is answered.
  struct InFlight {
    Range range;
    bool is_change = false;
    std::uint64_t number = 0;  // counts them, for waiting callers
    bool is_all_disturbed = false;
    RunMap<bool> disturbed = {};  // by concurrent changes; the value has no meaning
  };
  using Place = std::list<InFlight>::iterator;

  // The query or change is in flight as long as this lives.
  class Guard {
   public:
    Guard(Guard&& other) noexcept
        : known_(std::exchange(other.known_, nullptr)), place_(other.place_) {}
    Guard& operator=(Guard&&) = delete;

    [[nodiscard]] const Range& range() const { return place_->range; }

   protected:
    Guard(KnownRanges& known, Place place) : known_(&known), place_(place) {}
    ~Guard() = default;

    KnownRanges* known_;  // null if moved from
    Place place_;
  };

 public:
  // The changes that a reply includes: those that ended before the query on any connection, or only
  // on its own.
  enum class View : std::uint8_t { all_connections, own_connection };

  struct Limits {
    std::size_t runs_max;  // at least 2
    std::size_t disturbed_max = 1024;
  };

  // The result of a change in a part of its range. Without a type, it is unknown.
  struct Content {
    Range range;
    std::optional<ExtentType> type;
  };

  // The right to query the layer below about range(), and to pass its reply on.
  class Query : public Guard {
   public:
    Query(Query&& other) noexcept = default;
    Query& operator=(Query&&) = delete;
    ~Query();

    // Takes the reply: ascending extents. Extents of other ranges are ignored. May be called again.
    void learn(std::span<const Extent> reply);

   private:
    friend KnownRanges;
    using Guard::Guard;
  };

  // A change that ends without commit() has failed.
  class Change : public Guard {
   public:
    Change(Change&& other) noexcept = default;
    Change& operator=(Change&&) = delete;
    ~Change();

    // The change has succeeded. Parts that no content names stay as they are since it began.
    void commit(std::span<const Content> contents);

   private:
    friend KnownRanges;
    using Guard::Guard;
    bool is_committed_ = false;
  };

  KnownRanges(const KnownRanges&) = delete;
  KnownRanges& operator=(const KnownRanges&) = delete;

  [[nodiscard]] Query query(const Range& range) EXCLUDES(mutex_);

  // Discards all that is known; queries and changes in flight add nothing, either.
  void forget_all() noexcept EXCLUDES(mutex_);

  // Returns the known extents in order, clipped to `range`.
  [[nodiscard]] std::vector<Extent> known(const Range& range) const EXCLUDES(mutex_);
  [[nodiscard]] std::size_t runs() const EXCLUDES(mutex_);
  // Returns whether runs were ever forgotten for lack of room: then to learn more is of little use.
  [[nodiscard]] bool has_forgotten() const EXCLUDES(mutex_);

 protected:
  // Returns whether the known type is better than that of a reply.
  using Prefers = bool (*)(ExtentType known, ExtentType told);

  KnownRanges(const Limits& limits, View view, Prefers prefers_known);
  ~KnownRanges() = default;

  // Begins the query or change, which notes all changes in flight; if it is a change, all in flight
  // note it, too. Without memory, too much may count as disturbed.
  Place enter(const Range& range, bool is_change) REQUIRES(mutex_);
  Query begin_query(const Range& range) REQUIRES(mutex_) {
    return Query(*this, enter(range, false));
  }
  // The owner has removed all but data from values_ in the range.
  Change begin_change(const Range& range) REQUIRES(mutex_) {
    return Change(*this, enter(range, true));
  }

  // Forgets runs until `runs_max` is kept; runs of `keep` only if there are no others.
  void make_room(Range keep) REQUIRES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable query_ended_;
  RunMap<ExtentType> values_ GUARDED_BY(mutex_);  // no run where unknown
  std::list<InFlight> in_flight_ GUARDED_BY(mutex_);

 private:
  // Makes it known, except where it is disturbed or known better.
  void learn(RunMap<ExtentType>& told, const InFlight& source) REQUIRES(mutex_);
  void disturb(InFlight& target, const Range& by, std::size_t parts_max) REQUIRES(mutex_);
  static void leave_out(RunMap<ExtentType>& told, const InFlight& disturbed);

  const Limits limits_;
  const Prefers prefers_known_;
  // In View::own_connection, a query about the whole disk that never ends.
  std::optional<InFlight> ever_ GUARDED_BY(mutex_);
  std::uint64_t next_number_ GUARDED_BY(mutex_) = 0;
  std::uint64_t next_forgotten_ GUARDED_BY(mutex_) =
      0;  // where the next run to forget is looked for
  bool has_forgotten_ GUARDED_BY(mutex_) = false;
};

}  // namespace nbdstack
