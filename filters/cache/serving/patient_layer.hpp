// The layer below while the server stops, for the last write-back.
//
// nbdkit then ends every sleep at once, so a filter below that delays requests (rate) refuses them
// with ESHUTDOWN: each request uses the allowance of the moment, and needs more. Such a request is
// sent again after a pause, in smaller parts, and one at a time, until there has been no progress
// for kSilence. Other failures propagate: the layer that failed has tried long enough itself. So
// does a refusal of a layer that reports that the right to write is lost. After `longest`, no
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

  // `longest` counts from `since`, and is no bound if 0. What is passed by reference outlives this.
  PatientLayer(Layer& below, Clock& clock, TimePoint since, Duration longest);

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;

 private:
  // Calls part(length, offset) until the whole range is done.
  void in_parts(const Range& range,
                const std::function<void(std::uint64_t length, std::uint64_t offset)>& part);
  // Returns false if the call was refused and may be repeated.
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
