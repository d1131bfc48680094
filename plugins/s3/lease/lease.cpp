#include "plugins/s3/lease/lease.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/invariant.hpp"
#include "common/log.hpp"
#include "plugins/s3/lease/lease_takeover.hpp"

namespace nbdstack {
namespace {

constexpr int kAttempts_max = 5;     // to put a record, after another one was put meanwhile
constexpr int kOwnAttempts_max = 3;  // the same if the other was our own

std::string in_words(const std::optional<SeenLease>& seen) {
  if (!seen.has_value()) return "somebody who removed its object";
  if (!seen->record.has_value()) return "a program that this one does not understand";
  return seen->record->owner_in_words();
}

// The time until a waiting request notices that the lease was renewed.
constexpr Duration kDoubtPause = std::chrono::milliseconds(20);

std::int64_t seconds_of(Duration duration) {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}

}  // namespace

Ownership parse_ownership(std::string_view text) {
  if (text == "auto") return Ownership::automatic;
  if (text == "lease") return Ownership::lease;
  if (text == "force") return Ownership::force;
  if (text == "none") return Ownership::none;
  throw Error(EINVAL, fmt::format("own={}: it must be auto, lease, force or none", text));
}

Lease::Lease(const LeaseSettings& settings, Clock& clock, const Processes& processes)
    : settings_(settings),
      timing_{.duration = settings.duration},
      clock_(clock),
      processes_(processes),
      deadline_(settings.ownership == Ownership::none
                    ? TimePoint::max().time_since_epoch().count()
                    : TimePoint::min().time_since_epoch().count()) {
  check_lease_duration(settings.duration);
}

void Lease::acquire(ObjectStore& store) {
  if (settings_.ownership == Ownership::none) return;
  probe(store);
  object_.emplace(store, lease_object_key(settings_.volume_key), conditions_);
  record_ = LeaseRecord::make(processes_, settings_.duration);
  if (settings_.ownership == Ownership::force) {
    take_by_force();
  } else {
    take_when_free();
  }
  term_ = record_.term;
}

void Lease::probe(ObjectStore& store) {
  conditions_ = probe_conditional_puts(store, settings_.volume_key);
  if (conditions_.honoured()) return;
  if (settings_.ownership == Ownership::lease) {
    throw Error(ENOTSUP,
                fmt::format("own=lease: the store of {} cannot keep a lease, because {}: own=auto "
                            "goes on without that certainty",
                            settings_.volume, conditions_.reason));
  }
  log::error(
      "{}: the store does not honour conditional PUTs, because {}: a plain token takes the place "
      "of the lease, and of two servers that start at the same moment both may get it",
      settings_.volume, conditions_.reason);
}

void Lease::take_when_free() {
  TakeoverWatch watch(processes_, record_.owner);
  bool said_waiting = false;
  for (int attempts = 0; attempts < kAttempts_max;) {
    const auto seen = object_->read();
    const Takeover takeover = watch.judge(seen, clock_.now());
    switch (takeover.verdict) {
      case TakeoverVerdict::refuse:
        if (!seen->record.has_value()) throw Error(EINVAL, takeover.reason);
        throw Error(EBUSY, fmt::format("{} has a writer: {}; stop it first, or open the volume "
                                       "with readonly=true, or take it over with own=force",
                                       settings_.volume, takeover.reason));
      case TakeoverVerdict::wait:
        if (!std::exchange(said_waiting, true)) {
          log::error("{} was last written by {}: waiting up to {} s to see whether it is alive",
                     settings_.volume, takeover.reason, seconds_of(takeover.longest_wait));
        }
        clock_.sleep_for(timing_.watch_pause());
        continue;
      case TakeoverVerdict::take:
        break;
    }
    ++attempts;
    const bool stored = take_over(seen);
    if (stored && !takeover.reason.empty()) {
      log::error("{}: lease taken over: {}", settings_.volume, takeover.reason);
    }
    // A record that was stored so late that it has expired is judged again like any other.
    if (stored && may_write()) return;
  }
  throw Error(EBUSY, fmt::format("{}: no lease to be had in {} attempts: others take it again and "
                                 "again, or the store takes longer than lease-time={}s allows",
                                 settings_.volume, kAttempts_max, seconds_of(settings_.duration)));
}

// A record of our own here is one whose answer was lost, or that was stored too late.
void Lease::note_predecessor(const std::optional<SeenLease>& seen) {
  const bool is_known = seen.has_value() && seen->record.has_value();
  if (!is_known || seen->record->owner != record_.owner) predecessor_ = seen;
}

void Lease::take_by_force() {
  for (int attempts = 0; attempts < kAttempts_max; ++attempts) {
    const auto seen = object_->read_to_replace();
    const bool stored = take_over(seen);
    const bool was_free =
        !seen.has_value() ||
        (seen->record.has_value() && (seen->record->state == LeaseRecord::State::released ||
                                      seen->record->owner == record_.owner));
    if (stored && !was_free) {
      log::error(
          "{}: own=force took the lease from {}: if that is alive, it may go on writing until it "
          "renews its lease the next time",
          settings_.volume, in_words(seen));
    }
    if (stored && may_write()) return;
  }
  throw Error(EBUSY, fmt::format("{}: own=force got no lease in {} attempts: others take it again "
                                 "and again, or the store takes longer than lease-time={}s allows",
                                 settings_.volume, kAttempts_max, seconds_of(settings_.duration)));
}

void Lease::settle(ObjectStore& store) {
  if (settings_.ownership == Ownership::none) return;
  move_to(store);
  const ProcessIdentity serving = processes_.self();
  if (record_.process != serving) {
    // The stored record names the process that started this one. Once that has ended, any server
    // may take the lease: nothing is written before the record names this process.
    record_.process = serving;
    set_deadline(TimePoint::min());
  }
  next_renewal_ = TimePoint::min();
  tend();
  if (state() == LeaseState::lost) throw Error(EBUSY, reason());
}

void Lease::move_to(ObjectStore& store) {
  object_.emplace(store, lease_object_key(settings_.volume_key), conditions_);
}

void Lease::tend() {
  if (state_ != LeaseState::held) return;
  look_for_changes();
  if (clock_.now() >= next_renewal_) {
    try {
      renew();
    } catch (const Error& error) {
      last_failure_ = error.what();
      next_renewal_ = clock_.now() + timing_.pause();
      log::debug("{}: the lease was not renewed: {}", settings_.volume, last_failure_);
    }
  }
  say_changes();
}

void Lease::look_for_changes() {
  if (!has_changed_lately_.exchange(false)) return;
  last_change_ = clock_.now();
  const bool was_idle = record_.duration > settings_.duration;
  if (was_idle) next_renewal_ = std::min(next_renewal_, last_change_);
}

void Lease::renew() {
  // Each renewal of a plain token also checks whether another server has taken it.
  if (is_exclusive()) record_.duration = timing_.record_duration(clock_.now() - last_change_);
  std::optional<SeenLease> other;
  if (put_over_own(other)) return;
  lose(other);
}

bool Lease::take_over(const std::optional<SeenLease>& seen) {
  note_predecessor(seen);
  last_change_ = clock_.now();
  const bool can_be_read = seen.has_value() && seen->record.has_value();
  record_.term = term_after(can_be_read ? &*seen->record : nullptr, record_.owner);
  return put_over(seen.has_value() ? std::optional(seen->version) : std::nullopt);
}

bool Lease::put_over(const std::optional<LeaseVersion>& predecessor) {
  ++record_.renewals;
  const TimePoint sent = clock_.now();
  const TimePoint end = sent + RecordTiming{record_.duration}.validity();
  // It may be stored even if the reply is lost, and a successor would then use it.
  lower_deadline(end);
  const auto stored = object_->put_over(predecessor, record_);
  if (!stored.has_value()) return false;
  version_ = *stored;
  next_renewal_ = sent + timing_.renewal_interval(record_.duration);
  if (record_.state == LeaseRecord::State::held) {
    // A lease that was lost or given back is not held again.
    INVARIANT(state_ == LeaseState::none || state_ == LeaseState::held, settings_.volume);
    // Counted before the deadline is set, so that a refused request that may now be repeated sees
    // it.
    if (state_ == LeaseState::held && !may_write()) ++regained_;
    set_deadline(end);
    state_ = LeaseState::held;
  }
  return true;
}

bool Lease::put_over_own(std::optional<SeenLease>& other) {
  for (int attempts = 0; attempts < kOwnAttempts_max; ++attempts) {
    if (put_over(version_)) return true;
    other = object_->read();
    if (!other.has_value() || !other->record.has_value() || other->record->owner != record_.owner) {
      return false;
    }
    // An earlier put whose reply was lost. Only the next put proves that the lease is still held.
    version_ = other->version;
  }
  throw Error(EIO, fmt::format("{}: the store goes on showing other records of ours than it was "
                               "given last",
                               lease_object_key(settings_.volume_key)));
}

void Lease::lose(const std::optional<SeenLease>& other) {
  INVARIANT(state_ == LeaseState::held, settings_.volume);
  set_deadline(TimePoint::min());
  {
    const MutexLock lock(mutex_);
    loss_ = in_words(other);
  }
  state_ = LeaseState::lost;
  log::error("{}", reason());
}

void Lease::say_changes() {
  const LeaseState now = state();
  if (now == LeaseState::doubtful && !said_doubtful_) {
    log::error(
        "{}: the lease could not be renewed in time, and no write is accepted until it is; {}",
        settings_.volume, last_failure_.empty() ? "this server was kept from it" : last_failure_);
  }
  if (now == LeaseState::held && said_doubtful_) {
    log::error("{}: the lease has been renewed, and writes are accepted again", settings_.volume);
  }
  said_doubtful_ = now == LeaseState::doubtful;
  if (now == LeaseState::held) last_failure_.clear();
}

void Lease::release() {
  if (state_ != LeaseState::held) return;
  set_deadline(TimePoint::min());
  state_ = LeaseState::released;
  record_.state = LeaseRecord::State::released;
  if (has_changed_ && record_.term.has_value()) record_.term->note_change();
  try {
    std::optional<SeenLease> other;
    if (!put_over_own(other)) {
      log::error("{}: the lease had been taken over by {} before it was given back",
                 settings_.volume, in_words(other));
    }
  } catch (const Error& error) {
    log::error(
        "{}: the lease was not given back, and the next server waits until it has run out: {}",
        settings_.volume, error.what());
  }
}

LeaseState Lease::state() const {
  const LeaseState state = state_;
  return state == LeaseState::held && !may_write() ? LeaseState::doubtful : state;
}

WriteRight Lease::right() const {
  if (settings_.ownership == Ownership::none) return WriteRight::none;
  switch (state()) {
    case LeaseState::held:
      return WriteRight::held;
    case LeaseState::none:
    case LeaseState::doubtful:
      return WriteRight::doubtful;
    case LeaseState::lost:
    case LeaseState::released:
      break;
  }
  return WriteRight::lost;
}

void Lease::check_writable() const {
  if (!may_write()) throw Error(ESHUTDOWN, reason());
}

void Lease::await_writable() {
  while (!may_write() && state() == LeaseState::doubtful && !waited_long_enough()) {
    clock_.sleep_for(kDoubtPause);
  }
  check_writable();
}

// The time counts from the first request that met this doubt: a later request waits only for its
// rest, and after that no request waits.
bool Lease::waited_long_enough() {
  const TimePoint now = clock_.now();
  const TimePoint::rep deadline = deadline_.load(std::memory_order_acquire);
  const MutexLock lock(mutex_);
  if (doubt_.deadline != deadline) doubt_ = {.deadline = deadline, .met_at = now};
  return now - doubt_.met_at >= timing_.duration;
}

std::string Lease::reason() const {
  switch (state_.load()) {
    case LeaseState::none:
      return fmt::format("{}: nothing is written before the lease is taken", settings_.volume);
    case LeaseState::released:
      return fmt::format("{}: the lease has been given back, the server stops", settings_.volume);
    case LeaseState::lost: {
      const MutexLock lock(mutex_);
      return fmt::format(
          "{}: this server has lost the lease to {}, and neither writes nor flushes any more: stop "
          "it, and start it again only when the other has ended",
          settings_.volume, loss_);
    }
    case LeaseState::held:
    case LeaseState::doubtful:
      break;
  }
  return fmt::format(
      "{}: the lease could not be renewed in time, and no write is accepted until it is",
      settings_.volume);
}

}  // namespace nbdstack
