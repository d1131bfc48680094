#include "plugins/s3/http/transfer_places.hpp"

#include <algorithm>

#include "plugins/s3/http/transfer_signal.hpp"

namespace nbdstack {

using std::chrono::steady_clock;

// A caller in the queue, on the caller's stack.
struct TransferPlaces::Waiting {
  Wanted wanted;
  Waiting* next_let_in = nullptr;  // the mutex's, until it is signalled
  TransferSignal let_in;
};

std::optional<TransferPlaces::Place> TransferPlaces::enter(const Wanted& wanted,
                                                           TransferLife& life) {
  Waiting self{.wanted = wanted};
  Waiting* others = nullptr;
  {
    const TimePoint now = steady_clock::now();
    const MutexLock lock(mutex_);
    queue_.push(wanted.its_class, &self, now);
    others = let_in(now);
  }
  try {
    for (;;) {
      wake(others);
      if (self.let_in.wait_until(std::min(life.ask_due(), life.deadline()))) break;
      const TimePoint now = steady_clock::now();
      life.ask_if_due(now);
      {
        const MutexLock lock(mutex_);
        life.got_on(got_on_);
        others = let_in(now);
      }
      if (now >= life.deadline()) {
        wake(std::exchange(others, nullptr));
        if (give_up(self)) return std::nullopt;
        break;
      }
    }
  } catch (...) {
    if (!give_up(self)) leave(wanted);
    throw;
  }
  return Place(*this, wanted);
}

// Returns all whose turn it is, as a chain to be woken.
TransferPlaces::Waiting* TransferPlaces::let_in(TimePoint now) {
  Waiting* first = nullptr;
  Waiting** last = &first;
  for (;;) {
    grow_if_of_use(now);
    const auto next = queue_.take(limit_.limit(), line_.limit(), now);
    if (!next) return first;
    occupied((*next)->wanted);
    line_.is_under_way(now);
    *last = *next;
    last = &(*next)->next_let_in;
  }
}

// Tells the line that a large transfer waits for a place which only the line's limit denies.
void TransferPlaces::grow_if_of_use(TimePoint now) {
  if (!queue_.waits(TransferClass::large) ||
      queue_.in_flight(TransferClass::large) < line_.limit()) {
    return;
  }
  line_.is_wanted(large_bytes_ + queue_.next(TransferClass::large)->wanted.bytes, now);
}

void TransferPlaces::occupied(const Wanted& wanted) {
  if (wanted.its_class == TransferClass::large) large_bytes_ += wanted.bytes;
}

void TransferPlaces::wake(Waiting* let_in) {
  while (let_in != nullptr) {
    Waiting& each = *std::exchange(let_in, let_in->next_let_in);
    each.let_in.signal();
  }
}

// Returns false if the caller was let in meanwhile, and has a place.
bool TransferPlaces::give_up(Waiting& waiting) {
  {
    const MutexLock lock(mutex_);
    if (queue_.remove([&](const Waiting* each) { return each == &waiting; })) return true;
  }
  while (!waiting.let_in.wait_until(steady_clock::now() + TransferLife::kAskEvery)) continue;
  return false;
}

void TransferPlaces::leave(const Wanted& wanted) noexcept {
  Waiting* next = nullptr;
  {
    const TimePoint now = steady_clock::now();
    const MutexLock lock(mutex_);
    queue_.release(wanted.its_class, now);
    if (wanted.its_class == TransferClass::large) large_bytes_ -= wanted.bytes;
    next = let_in(now);
  }
  wake(next);
}

std::optional<TransferPlaces::Place> TransferPlaces::repeat(TransferClass its_class,
                                                            const TransferHedging::Late& late) {
  if (!hedging_allowed_) return std::nullopt;
  const MutexLock lock(mutex_);
  if (limit_.is_lowered() || line_.is_slow() || queue_.in_flight() >= limit_.limit() ||
      !queue_.is_empty() || !hedging_.should_repeat(late)) {
    return std::nullopt;
  }
  const Wanted wanted{.its_class = its_class, .bytes = late.bytes};
  queue_.occupy(its_class);
  occupied(wanted);
  return Place(*this, wanted);
}

void TransferPlaces::learn(const Lesson& lesson) {
  const MutexLock lock(mutex_);
  if (lesson.is_refusal) limit_.refused(lesson.sent, lesson.now);
  if (lesson.is_good) {
    limit_.answered();
    got_on_ = std::max(got_on_, lesson.now);
  }
  if (lesson.is_large) {
    line_.answered({.begun = lesson.sent,
                    .now = lesson.now,
                    .in_flight = queue_.in_flight(TransferClass::large),
                    .others_wait = queue_.waits(TransferClass::large)});
  }
  if (lesson.get_bytes > 0) {
    hedging_.answered(lesson.get_bytes, lesson.to_first_byte, lesson.to_last_byte);
  }
}

void TransferPlaces::carried(std::uint64_t bytes, bool is_more_under_way, TimePoint now) {
  Waiting* next = nullptr;
  {
    const MutexLock lock(mutex_);
    line_.carried(bytes, now);
    if (is_more_under_way) line_.is_under_way(now);
    if (bytes > 0) got_on_ = std::max(got_on_, now);
    next = let_in(now);
  }
  wake(next);
}

}  // namespace nbdstack
