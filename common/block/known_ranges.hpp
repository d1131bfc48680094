// What is known of ranges of a disk (data, a hole, zeros), while changes and queries are in flight.
//
//   event              before it is sent              when it has succeeded     when it has failed
//   a change           as its owner says: at most     as commit() says          unknown
//                      "data" is left
//   a query            -                              what the reply says       as it was
//
// "Data" may be said of anything: at worst zeros are read. "Hole" or "zeros" must never be said of
// data, and two rules see to it:
//
//  - A reply may be older than a change. Each query notes the changes that overlap it in time, wholly
//    or in part, and nothing is learnt of their ranges from its reply.
//  - Two changes of one range may reach the disk in either order. What a change has made is known
//    only where no other change overlapped it in time.
//
// Where the connections below do not see each other's writes at once (View::own_connection), a reply
// may even be older than a change that ended before the query: there, nothing is learnt of what was
// ever changed.
//
// Bounds: memory by runs, at most `runs_max` (some 64 bytes each). When there would be more, runs are
// forgotten in turn from the disk's beginning to its end and round again, those that are being learnt
// last. A query that more than `disturbed_max` parts are disturbed of learns nothing. Nothing depends
// on the size of the disk.
//
// Any thread. mutex_ protects everything and is never held while the layer below works. For lack of
// memory a query or a change does not begin (std::bad_alloc); after that, less is known than could be.
//
// (The S3 plugin's PresenceMap knows ranges, too, and needs none of this: there a block that was
// changed never becomes unknown again, so no query has to be noted.)
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
    std::uint64_t number = 0;  // counts them, for who waits
    bool is_all_disturbed = false;
    RunMap<bool> disturbed = {};  // by changes at the same time; the value means nothing
  };
  using Place = std::list<InFlight>::iterator;

  // In flight for as long as this lives.
  class Guard {
   public:
    Guard(Guard&& other) noexcept
        : known_(std::exchange(other.known_, nullptr)), place_(other.place_) {}
    Guard& operator=(Guard&&) = delete;

    [[nodiscard]] const Range& range() const { return place_->range; }

   protected:
    Guard(KnownRanges& known, Place place) : known_(&known), place_(place) {}
    ~Guard() = default;

    KnownRanges* known_;  // null: moved from
    Place place_;
  };

 public:
  // Which changes a reply knows of: those that ended before the query on any connection, or on its
  // own.
  enum class View : std::uint8_t { all_connections, own_connection };

  struct Limits {
    std::size_t runs_max;  // at least 2
    std::size_t disturbed_max = 1024;
  };

  // What a change has made of a part of its range. No type: unknown.
  struct Content {
    Range range;
    std::optional<ExtentType> type;
  };

  // The right to ask the layer below about range(), and to tell what it has said.
  class Query : public Guard {
   public:
    Query(Query&& other) noexcept = default;
    Query& operator=(Query&&) = delete;
    ~Query();

    // The reply: ascending extents. What it says of other ranges is ignored. May be called again.
    void learn(std::span<const Extent> reply);

   private:
    friend KnownRanges;
    using Guard::Guard;
  };

  // One that ends without commit() has failed.
  class Change : public Guard {
   public:
    Change(Change&& other) noexcept = default;
    Change& operator=(Change&&) = delete;
    ~Change();

    // It has succeeded. What no content names stays what it has been since the change began.
    void commit(std::span<const Content> contents);

   private:
    friend KnownRanges;
    using Guard::Guard;
    bool is_committed_ = false;
  };

  KnownRanges(const KnownRanges&) = delete;
  KnownRanges& operator=(const KnownRanges&) = delete;

  [[nodiscard]] Query query(const Range& range) EXCLUDES(mutex_);

  // Nothing is known any more, nor is anything learnt from what is in flight.
  void forget_all() noexcept EXCLUDES(mutex_);

  // In order, clipped to `range`.
  [[nodiscard]] std::vector<Extent> known(const Range& range) const EXCLUDES(mutex_);
  [[nodiscard]] std::size_t runs() const EXCLUDES(mutex_);
  // Whether anything was ever forgotten for want of room: then learning on is of little use.
  [[nodiscard]] bool has_forgotten() const EXCLUDES(mutex_);

 protected:
  // Whether what is known is better than what a reply says.
  using Prefers = bool (*)(ExtentType known, ExtentType told);

  KnownRanges(const Limits& limits, View view, Prefers prefers_known);
  ~KnownRanges() = default;

  // The query or change begins; it, and every other that is in flight, is told of the other if that
  // is a change. Where there is no memory, too much may count as disturbed.
  Place enter(const Range& range, bool is_change) REQUIRES(mutex_);
  Query begin_query(const Range& range) REQUIRES(mutex_) {
    return Query(*this, enter(range, false));
  }
  // The owner has seen to it that there is nothing but data in the range.
  Change begin_change(const Range& range) REQUIRES(mutex_) {
    return Change(*this, enter(range, true));
  }

  // Forgets runs until there are no more than there may be; those of `keep` when there are no others.
  void make_room(Range keep) REQUIRES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable query_ended_;
  RunMap<ExtentType> values_ GUARDED_BY(mutex_);  // unknown: no run
  std::list<InFlight> in_flight_ GUARDED_BY(mutex_);

 private:
  // Becomes known, but for what is disturbed or known better.
  void learn(RunMap<ExtentType>& told, const InFlight& source) REQUIRES(mutex_);
  void disturb(InFlight& target, const Range& by, std::size_t parts_max) REQUIRES(mutex_);
  static void leave_out(RunMap<ExtentType>& told, const InFlight& disturbed);

  const Limits limits_;
  const Prefers prefers_known_;
  // In View::own_connection: a query about the whole disk that never ends.
  std::optional<InFlight> ever_ GUARDED_BY(mutex_);
  std::uint64_t next_number_ GUARDED_BY(mutex_) = 0;
  std::uint64_t next_forgotten_ GUARDED_BY(mutex_) =
      0;  // where the next run to forget is looked for
  bool has_forgotten_ GUARDED_BY(mutex_) = false;
};

}  // namespace nbdstack
