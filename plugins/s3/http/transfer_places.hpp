// Admission: bounds the requests that all callers together have in flight, by what is known about
// the service and the line.
//
//   a caller                                       its place
//   enter()    the queue lets it in                taken, for the life of the Place
//              it is not its turn                  it waits in its class     (transfer_queue.hpp)
//              its deadline comes first            none
//              its request is over                 none; Error(ESHUTDOWN)
//   repeat()   its GET is late, a place is free,   a second one              (transfer_hedging.hpp)
//              and no caller waits
//   carried()  more than before                     more large ones       (line_concurrency.hpp)
//   learn()    "too busy", silence, a good answer   fewer or more in all      (in_flight_limit.hpp)
//              what it carried, in which time       fewer or more large ones (line_concurrency.hpp)
//   ~Place     the next in the queue is let in and woken
//
// The mutex is held for a few instructions each time, and never while a waiter is woken: waiters
// that are let in are chained with it held and signalled afterwards. A waiter leaves only after it
// has removed itself from the queue or was signalled. So a caller that gives up at the moment when
// it is let in has a place, and passes it on.
//
// Time alone may let a large request in (no small one for a while, an idle line), so each waiter
// checks the queue every TransferLife::kAskEvery.
//
// Waiting in the queue is no silence while other requests make progress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/http/in_flight_limit.hpp"
#include "plugins/s3/http/line_concurrency.hpp"
#include "plugins/s3/http/transfer_hedging.hpp"
#include "plugins/s3/http/transfer_life.hpp"
#include "plugins/s3/http/transfer_queue.hpp"

namespace nbdstack {

class TransferPlaces {
 public:
  // The purpose of a place.
  struct Wanted {
    TransferClass its_class = TransferClass::small;
    std::size_t bytes = 0;  // to be carried
  };

  class Place {
   public:
    Place(TransferPlaces& places, const Wanted& wanted) : places_(&places), wanted_(wanted) {}
    Place(Place&& other) noexcept
        : places_(std::exchange(other.places_, nullptr)), wanted_(other.wanted_) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (places_ != nullptr) places_->leave(wanted_);
    }

   private:
    TransferPlaces* places_;
    Wanted wanted_;
  };

  // The lesson of one answer.
  struct Lesson {
    bool is_refusal = false;  // the service or the line has too much to do
    bool is_good = false;     // they have not
    bool is_large = false;    // and good: its time shows the state of the line
    TimePoint sent{};
    TimePoint now{};
    std::size_t get_bytes = 0;  // 0 if it is not a GET's body, and the times mean nothing
    Duration to_first_byte{};
    Duration to_last_byte{};
  };

  TransferPlaces(unsigned most, bool hedging)
      : limit_(most), line_(most), hedging_allowed_(hedging) {}
  TransferPlaces(const TransferPlaces&) = delete;
  TransferPlaces& operator=(const TransferPlaces&) = delete;

  // Returns nothing if the deadline came first.
  std::optional<Place> enter(const Wanted& wanted, TransferLife& life);
  // For a late GET. Returns nothing if it must not be sent again.
  std::optional<Place> repeat(TransferClass its_class, const TransferHedging::Late& late);
  void learn(const Lesson& lesson);
  // Called with the bytes that a transfer has moved since the last call; more may be under way.
  void carried(std::uint64_t bytes, bool is_more_under_way, TimePoint now);

 private:
  struct Waiting;

  Waiting* let_in(TimePoint now) REQUIRES(mutex_);
  void grow_if_of_use(TimePoint now) REQUIRES(mutex_);
  static void wake(Waiting* let_in);
  bool give_up(Waiting& waiting);
  void leave(const Wanted& wanted) noexcept;
  void occupied(const Wanted& wanted) REQUIRES(mutex_);

  Mutex mutex_;
  TransferQueue<Waiting*> queue_ GUARDED_BY(mutex_);
  InFlightLimit limit_ GUARDED_BY(mutex_);
  LineConcurrency line_ GUARDED_BY(mutex_);
  // The sum of the sizes of all large transfers that have a place.
  std::uint64_t large_bytes_ GUARDED_BY(mutex_) = 0;
  TimePoint got_on_ GUARDED_BY(mutex_){};  // when a transfer last made progress
  const bool hedging_allowed_;
  TransferHedging hedging_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
