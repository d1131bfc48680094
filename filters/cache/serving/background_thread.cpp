#include "filters/cache/serving/background_thread.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// The pause while nothing may be written.
constexpr std::chrono::seconds kLookAgain(1);
// The time for which a layer below is kept open without work: opening one may take a while.
constexpr std::chrono::milliseconds kRestAfter(300);

}  // namespace

BackgroundThread::BackgroundThread(BlockCache& cache, std::unique_ptr<BackgroundBelow> below,
                                   MayWrite may_write)
    : cache_(cache), below_(std::move(below)), may_write_(std::move(may_write)) {
  cache_.on_background_wanted([this] { wake(); });
  try {
    thread_.start([this](StoppableThread& self) {
      while (!self.is_stopping()) self.pause_until(step(std::chrono::steady_clock::now()));
      below_.reset();
    });
  } catch (...) {
    cache_.on_background_wanted([] {});
    throw;
  }
}

BackgroundThread::~BackgroundThread() {
  thread_.stop();
  cache_.on_background_wanted([] {});
}

TimePoint BackgroundThread::step(TimePoint now) {
  try {
    return careless_step(now);
  } catch (const std::exception&) {  // no memory, not even to log that
    return now + std::chrono::seconds(1);
  }
}

TimePoint BackgroundThread::careless_step(TimePoint now) {
  try {
    if (!cache_.background().may_work_below(now)) return cache_.background().step_here(now);
    if (!cache_.background().has_work_below()) return rest(now);
    rest_at_.reset();
    TimePoint next = TimePoint::max();  // until there is a layer
    below_->with([&](Layer& below) {
      next = cache_.background().step_here(now);
      if (!cache_.background().may_work_below(now)) return;
      // This comes last: a commit to a slow disk may take longer than the right to write lasts.
      next = may_write_(below) ? cache_.background().step_below(below, now) : now + kLookAgain;
    });
    if (!cache_.background().may_work_below(now)) below_->take_another();
    return cache_.background().has_work_below() ? next : std::min(next, now + kRestAfter);
  } catch (const Error& error) {
    return cache_.background().could_not_open(now, error);
  } catch (const std::exception& error) {
    below_->take_another();
    return cache_.background().could_not_open(now, Error(EIO, error.what()));
  }
}

TimePoint BackgroundThread::rest(TimePoint now) {
  const TimePoint next = cache_.background().step_here(now);
  if (!rest_at_) rest_at_ = now + kRestAfter;
  if (now < *rest_at_) return std::min(next, *rest_at_);
  below_->rest();
  return next;
}

}  // namespace nbdstack
