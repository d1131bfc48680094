// The right to write a volume: a lease from the store, renewed as long as the server runs
// (lease_record.hpp: the object; lease_timing.hpp: why two servers never write at once;
// lease_takeover.hpp: when a server may take it from another).
//
//   state      writes      ends
//   none       yes, with   never, with own=none, which takes no lease
//              own=none
//              no, else    by acquire(): in held, or in an Error that ends the start
//   held       yes         in doubtful when no renewal has succeeded for too long; in lost when the
//                          store shows another owner; in released by release()
//   doubtful   waits       in held by a renewal on our own ETag, which proves that no other server
//                          had it in between; in lost; in released
//   lost       no          never: caches above may be older than what the successor wrote
//   released   no          never
//
// held becomes doubtful by time alone: may_write() compares the time with a deadline. So a process
// that was stopped, or a machine that was suspended, has no right to write before it writes again;
// the clock must count suspend (BoottimeClock). No store can promise that a request sent in time
// arrives in time; the margins in lease_timing.hpp cover that.
//
// A machine that wakes up finds its lease doubtful, and usually still its own. So requests wait for
// the renewal that decides (await_writable()), for one lease duration: after that the doubt is an
// outage, and all changes are refused until a renewal succeeds.
//
// While no client writes, records have longer durations, and renewals are rarer (lease_timing.hpp).
// The first change ends that: note_change() tells tend().
//
// The store, not the time, decides whether the lease is lost. A record that is missing, or cannot
// be understood, counts as another owner's.
//
// Each owner has a term (lease_term.hpp), which tells the layers above whether another writer may
// have changed the disk since they last saw it.
//
// If the store does not honour conditions (conditional_puts.hpp), own=auto uses a plain token
// (lease_object.hpp): the states are the same, but two servers may hold it for a while.
//
// acquire(), settle(), tend() and release() are called by one thread at a time: acquire() before
// the server goes into the background, settle() after that, then tend() by the keeper's thread
// (lease_keeper.hpp), release() when that has been joined. None holds a lock during a request. Any
// thread may read the state at any time.
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
  automatic,  // auto: a lease, or a plain token if the store does not honour conditions
  lease,      // a lease, or no start
  force,      // as auto, but takes it from any holder
  none,       // no lease
};

// Throws Error(EINVAL) that names the parameter and its values.
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

  // Takes the lease; waits, and logs it, while its holder may have died. Errors: EBUSY (the holder
  // is alive), EINVAL (a record that cannot be understood), ENOTSUP (own=lease, and the store does
  // not honour conditions), the store's own. `store` is used until settle() or move_to() names
  // another one, or release() has returned.
  void acquire(ObjectStore& store);

  // Called in the process that will serve: the record gets its pid. `store` is used from here on,
  // and outlives this object. Throws Error(EBUSY) if the lease was lost meanwhile. If the store
  // does not answer, tend() tries again, and after a fork the lease is doubtful until then.
  void settle(ObjectStore& store);

  // `store` is used from here on: it outlives this object.
  void move_to(ObjectStore& store);

  // Renews the lease when that is due; takes at most the store's timeout, which should be
  // LeaseTiming::request_timeout(). To be called every LeaseTiming::pause(). Failures are logged,
  // and it is tried again.
  void tend();

  // Releases the lease, so that the next server need not wait. Writes are refused from here on; all
  // begun ones must have ended, or they may reach the store after the next owner's. Failures are
  // logged. Does nothing without a lease.
  void release();

  [[nodiscard]] LeaseState state() const;

  // From acquire() on: whether no other server can hold the lease while may_write() is true. Not so
  // with a plain token, or without a lease.
  [[nodiscard]] bool is_exclusive() const {
    return settings_.ownership != Ownership::none && conditions_.honoured();
  }

  // From acquire() on: the record that this lease replaced first, if there was one.
  [[nodiscard]] const std::optional<SeenLease>& predecessor() const { return predecessor_; }
  [[nodiscard]] const std::string& owner() const { return record_.owner; }
  // From acquire() on: which conditions the store honours.
  [[nodiscard]] const ConditionalPuts& conditions() const { return conditions_; }

  // Lock-free, within nanoseconds: for every request and every piece of one.
  [[nodiscard]] bool may_write() const {
    return clock_.now().time_since_epoch().count() < deadline_.load(std::memory_order_acquire);
  }

  // Returns the time for which may_write() stays true if the lease is not renewed; below zero if it
  // is false. May be called by any thread.
  [[nodiscard]] Duration remaining() const {
    return TimePoint(Duration(deadline_.load(std::memory_order_acquire))) - clock_.now();
  }

  // Throws Error(ESHUTDOWN) with the reason and the new owner.
  void check_writable() const;

  // As check_writable(), but waits while the lease is doubtful, for at most one lease duration
  // after the first request that met this doubt.
  void await_writable();

  // Returns whether the reason why the lease is doubtful or lost was logged.
  [[nodiscard]] bool has_said_why() const {
    const LeaseState now = state();
    return now == LeaseState::lost || (now == LeaseState::doubtful && said_doubtful_);
  }

  // Returns the number of times that the lease was doubtful and then held again: requests that were
  // refused in between, with Error(ESHUTDOWN), may be repeated.
  [[nodiscard]] std::uint64_t regained() const { return regained_.load(std::memory_order_acquire); }

  // To be called before each change of the disk.
  void note_change() {
    if (!has_changed_.load(std::memory_order_relaxed)) has_changed_ = true;
    if (!has_changed_lately_.load(std::memory_order_relaxed)) has_changed_lately_ = true;
  }
  [[nodiscard]] bool has_changed() const { return has_changed_; }

  // Returns state() in the form for the layers above.
  [[nodiscard]] WriteRight right() const;

  // This owner's term; nothing before acquire(), or without a lease.
  [[nodiscard]] const std::optional<LeaseTerm>& term() const { return term_; }

 private:
  void probe(ObjectStore& store);
  void take_when_free();
  void note_predecessor(const std::optional<SeenLease>& seen);
  void take_by_force();
  // All three return false if the store has another record than the one to be replaced.
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

  // Used by the one thread that drives the lease.
  ConditionalPuts conditions_;
  std::optional<LeaseObject> object_;  // from acquire() on
  LeaseRecord record_;                 // the last one that was sent
  LeaseVersion version_;               // the last one that is known to be stored
  std::optional<SeenLease> predecessor_;
  TimePoint next_renewal_;
  TimePoint last_change_;     // or when the lease was taken; at most one pause too late
  std::string last_failure_;  // the last failure of a renewal

  // Used by all threads.
  std::optional<LeaseTerm> term_;                    // set by acquire(), then constant
  std::atomic<LeaseState> state_{LeaseState::none};  // never doubtful, which is a matter of time
  std::atomic<TimePoint::rep> deadline_;             // no write from then on
  std::atomic<bool> said_doubtful_ = false;
  std::atomic<bool> has_changed_ = false;
  std::atomic<bool> has_changed_lately_ = false;  // since the last tend()
  std::atomic<std::uint64_t> regained_ = 0;
  mutable Mutex mutex_;
  std::string loss_ GUARDED_BY(mutex_);  // the server that took the lease, in words
  struct Doubt {
    TimePoint::rep deadline = TimePoint::max().time_since_epoch().count();  // that had passed
    TimePoint met_at;  // the time of the first request after it
  };
  Doubt doubt_ GUARDED_BY(mutex_);  // the last one
};

}  // namespace nbdstack
