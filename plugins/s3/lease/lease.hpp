// One writer: the right to write a volume, on loan from the store for a while and renewed as long
// as the server runs (lease_record.hpp: the object; lease_timing.hpp: why two never write at once;
// lease_takeover.hpp: who may take it from whom).
//
//   state      writes      is left
//   none       yes, with   never, with own=none, which asks for no lease
//              own=none
//              no, else    by acquire(): to held, or an Error that ends the start
//   held       yes         to doubtful when no renewal has succeeded for too long; to lost when
//                          the store says that somebody else has it; to released by release()
//   doubtful   waits       to held by a renewal on our own ETag, which says that nobody had it in
//                          between; to lost; to released
//   lost       no          never: what is cached above may be older than what the successor wrote
//   released   no          never
//
// held becomes doubtful by time alone, whatever this process does or is kept from doing: who asks
// may_write() compares the time with a deadline. A process that was stopped, or a machine that was
// suspended, therefore finds itself without the right to write before it writes again; the clock
// must count suspend (BoottimeClock). What cannot be had from a store: that a request which was
// sent in time arrives in time. The margins of lease_timing.hpp are for that.
//
// A machine that wakes up finds its lease doubtful, and mostly still its own. So what comes while
// it is doubtful waits for the renewal that decides (await_writable()), for as long as one lease
// lasts: then the doubt has become an outage, and everything is refused until a renewal succeeds.
//
// While nobody writes, the records are given longer durations, and the renewals are rarer
// (lease_timing.hpp). The first change after that brings the short ones back: note_change() tells
// tend().
//
// What the store says decides, and not the time, whether the lease is lost. A record that is no
// more, or no longer to be understood, counts as somebody else's.
//
// Each owner has a term (lease_term.hpp), which tells the layers above whether anybody else may have
// changed the disk since they last saw it.
//
// Where the store does not honour conditions (conditional_puts.hpp), own=auto goes on with a plain
// token (lease_object.hpp): the same states, but two may hold it for a while.
//
// acquire(), settle(), tend() and release() are called by one thread at a time: acquire() before
// the server goes into the background, settle() after that, then tend() by the keeper's thread
// (lease_keeper.hpp), release() when that has been joined. None holds a lock during a request. Any
// thread may ask for the state at any time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/block/disk_identity.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/lease/lease_object.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "plugins/s3/lease/lease_term.hpp"
#include "plugins/s3/lease/lease_timing.hpp"
#include "plugins/s3/lease/process_identity.hpp"
#include "plugins/s3/store/conditional_puts.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// The parameter own=.
enum class Ownership : std::uint8_t {
  automatic,  // auto: a lease, or a plain token where the store does not honour conditions
  lease,      // a lease, or no start
  force,      // as auto, and whoever holds it loses it
  none,       // nothing is asked for, nothing is promised
};

// Throws Error(EINVAL) that names the parameter and what it may be.
Ownership parse_ownership(std::string_view text);

enum class LeaseState : std::uint8_t { none, held, doubtful, lost, released };

struct LeaseSettings {
  std::string volume;      // for messages: "s3://BUCKET/KEY"
  std::string volume_key;  // may be empty
  Ownership ownership = Ownership::automatic;
  std::chrono::milliseconds duration = kLeaseDuration_default;
};

class Lease {
 public:
  // Throws Error(EINVAL) for a duration that no record may have. `clock`, which counts suspend, and
  // `processes` outlive this.
  Lease(const LeaseSettings& settings, Clock& clock, const Processes& processes);

  // Takes the lease; waits, with a word in the log, where somebody holds it who may have died.
  // Errors: EBUSY (somebody holds it and lives), EINVAL (a record that cannot be understood),
  // ENOTSUP (own=lease, and the store does not honour conditions), the store's own. `store` is used
  // until settle() names another one, or release() has returned.
  void acquire(ObjectStore& store);

  // This is the process that will serve, and `store` its store, which outlives this object: the
  // record gets its pid. Throws Error(EBUSY) where the lease was lost meanwhile; a store that does
  // not answer is tried again by tend(), and where the server has forked the lease is doubtful until
  // then.
  void settle(ObjectStore& store);

  // `store` is used from here on: it outlives this object.
  void move_to(ObjectStore& store);

  // Renews the lease when it is time to, which takes as long as the store's timeout at most: give
  // it LeaseTiming::request_timeout(). To be called every LeaseTiming::pause(). What fails is
  // logged and tried again.
  void tend();

  // Gives the lease back, so that the next server need not wait. Writes are refused from here on;
  // those that were begun have ended before, or they may reach the store after the next owner's.
  // What fails is logged. Does nothing where there is no lease (any more).
  void release();

  [[nodiscard]] LeaseState state() const;

  // From acquire() on: the store honours conditions, so that nobody else holds the lease while
  // may_write() says yes. Not so with a plain token, or without a lease.
  [[nodiscard]] bool is_exclusive() const {
    return settings_.ownership != Ownership::none && conditions_.honoured();
  }

  // From acquire() on: in whose place this lease's record was put first; nothing: there was none.
  [[nodiscard]] const std::optional<SeenLease>& predecessor() const { return predecessor_; }
  [[nodiscard]] const std::string& owner() const { return record_.owner; }
  // From acquire() on: what the store makes of conditions.
  [[nodiscard]] const ConditionalPuts& conditions() const { return conditions_; }

  // Lock-free, and a matter of nanoseconds: for every request and every piece of one.
  [[nodiscard]] bool may_write() const {
    return clock_.now().time_since_epoch().count() < deadline_.load(std::memory_order_acquire);
  }

  // Throws Error(ESHUTDOWN) that says why not, and who the new owner is.
  void check_writable() const;

  // The same, but waits while the lease is doubtful, until a renewal has decided; no longer than
  // one lease lasts, counted from when the doubt was first met by a request.
  void await_writable();

  // The log tells already why the lease is doubtful or lost.
  [[nodiscard]] bool has_said_why() const {
    const LeaseState now = state();
    return now == LeaseState::lost || (now == LeaseState::doubtful && said_doubtful_);
  }

  // How often the lease was doubtful and then held again: what was refused in between, with
  // Error(ESHUTDOWN), may be done after all.
  [[nodiscard]] std::uint64_t regained() const { return regained_.load(std::memory_order_acquire); }

  // To be called before the disk is changed, each time.
  void note_change() {
    if (!has_changed_.load(std::memory_order_relaxed)) has_changed_ = true;
    if (!has_changed_lately_.load(std::memory_order_relaxed)) has_changed_lately_ = true;
  }
  [[nodiscard]] bool has_changed() const { return has_changed_; }

  // What the layers above are told: the same as state(), in the words of all disks.
  [[nodiscard]] WriteRight right() const;

  // The own term; nothing before acquire(), or without a lease.
  [[nodiscard]] const std::optional<LeaseTerm>& term() const { return term_; }

 private:
  void probe(ObjectStore& store);
  void take_when_free();
  void note_predecessor(const std::optional<SeenLease>& seen);
  void take_by_force();
  // All three: false when something else lies in the store than what was to be replaced.
  bool put_over(const std::optional<LeaseVersion>& predecessor);
  bool take_over(const std::optional<SeenLease>& seen);
  bool put_over_own(std::optional<SeenLease>& other);
  void look_for_changes();
  void renew();
  void lose(const std::optional<SeenLease>& other);
  void say_changes();
  [[nodiscard]] bool waited_long_enough();

  void set_deadline(TimePoint time) {
    deadline_.store(time.time_since_epoch().count(), std::memory_order_release);
  }
  void lower_deadline(TimePoint time) {
    const TimePoint::rep now = deadline_.load(std::memory_order_relaxed);
    if (time.time_since_epoch().count() < now) set_deadline(time);
  }
  [[nodiscard]] std::string reason() const;

  const LeaseSettings settings_;
  const LeaseTiming timing_;
  Clock& clock_;
  const Processes& processes_;

  // Of the one thread that drives the lease.
  ConditionalPuts conditions_;
  std::optional<LeaseObject> object_;  // from acquire() on
  LeaseRecord record_;                 // the last one that was sent
  LeaseVersion version_;               // the last one that is known to be stored
  std::optional<SeenLease> predecessor_;
  TimePoint next_renewal_;
  TimePoint last_change_;     // or when the lease was taken; a pause late at most
  std::string last_failure_;  // of a renewal

  // Of all threads.
  std::optional<LeaseTerm> term_;                    // set by acquire(), and not changed any more
  std::atomic<LeaseState> state_{LeaseState::none};  // never doubtful, which is a matter of time
  std::atomic<TimePoint::rep> deadline_;             // no write from then on
  std::atomic<bool> said_doubtful_ = false;
  std::atomic<bool> has_changed_ = false;
  std::atomic<bool> has_changed_lately_ = false;  // since tend() has looked
  std::atomic<std::uint64_t> regained_ = 0;
  mutable Mutex mutex_;
  std::string loss_ GUARDED_BY(mutex_);  // who took the lease, in words
  struct Doubt {
    TimePoint::rep deadline = TimePoint::max().time_since_epoch().count();  // that had passed
    TimePoint met_at;  // when the first request came after it
  };
  Doubt doubt_ GUARDED_BY(mutex_);  // the last one
};

}  // namespace nbdstack
