// The layer below while the server stops, for what is written back last.
//
// nbdkit ends every sleep at once then, so a filter below that makes requests wait (rate) refuses
// them with ESHUTDOWN: each takes what may pass at this moment, and asks for more. Such a request is
// sent again after a pause, in smaller parts, and one at a time, until nothing has got on for
// kSilence. Other failures are passed on: whoever failed has tried long enough by itself. So is a
// refusal of a layer that tells that the right to write is lost. When `longest` has passed, no
// request is begun any more.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>

#include "common/block/forwarding_layer.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class PatientLayer final : public ForwardingLayer {
 public:
  static constexpr Duration kSilence = std::chrono::seconds(15);

  // `longest` counts from `since`; 0: no bound. What is referred to outlives this.
  PatientLayer(Layer& below, Clock& clock, TimePoint since, Duration longest);

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;

 private:
  // Calls part(length, offset) until all of the range has been done.
  void in_parts(const Range& range,
                const std::function<void(std::uint64_t length, std::uint64_t offset)>& part);
  // Returns false where the call was refused and may be made again.
  bool attempt(const std::function<void()>& call) EXCLUDES(one_by_one_);
  bool call_once(const std::function<void()>& call) EXCLUDES(mutex_);
  Duration pause_after_refusal();
  bool right_is_lost();

  Clock& clock_;
  const TimePoint since_;
  const Duration longest_;
  std::atomic<bool> is_refusing_ = false;
  Mutex one_by_one_;  // held during calls, and pauses, once one was refused

  Mutex mutex_;
  TimePoint got_on_at_ GUARDED_BY(mutex_);
  Duration pause_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
