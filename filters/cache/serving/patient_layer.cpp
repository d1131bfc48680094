#include "filters/cache/serving/patient_layer.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;

constexpr Duration kFirstPause = milliseconds(5);

// The shortest part: every layer accepts it, and most execute it in one piece.
constexpr std::uint64_t kShortestPart_bytes = 64U << 10U;

}  // namespace

PatientLayer::PatientLayer(Layer& below, Clock& clock, TimePoint since, Duration longest)
    : ForwardingLayer(below),
      clock_(clock),
      since_(since),
      longest_(longest),
      got_on_at_(clock.now()),
      pause_(kFirstPause) {}

void PatientLayer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  in_parts({offset, buffer.size()}, [&](std::uint64_t length, std::uint64_t at) {
    below().pread(buffer.subspan(at - offset, length), at);
  });
}

void PatientLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                          Durability durability) {
  in_parts({offset, buffer.size()}, [&](std::uint64_t length, std::uint64_t at) {
    below().pwrite(buffer.subspan(at - offset, length), at, durability);
  });
}

void PatientLayer::flush() {
  while (!attempt([&] { below().flush(); })) {
  }
}

void PatientLayer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  in_parts({offset, length},
           [&](std::uint64_t part, std::uint64_t at) { below().zero(part, at, options); });
}

void PatientLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  in_parts({offset, length},
           [&](std::uint64_t part, std::uint64_t at) { below().trim(part, at, durability); });
}

void PatientLayer::in_parts(const Range& range,
                            const std::function<void(std::uint64_t, std::uint64_t)>& part) {
  std::uint64_t step = range.length;
  for (std::uint64_t at = range.offset; at < range.end();) {
    const std::uint64_t length = std::min(step, range.end() - at);
    if (attempt([&] { part(length, at); })) {
      at += length;
    } else {
      step = std::max(kShortestPart_bytes, std::bit_floor(length / 2));
    }
  }
}

bool PatientLayer::attempt(const std::function<void()>& call) {
  if (longest_ > Duration::zero() && clock_.now() - since_ >= longest_) {
    throw Error(ETIMEDOUT, "the time of cache-stop-timeout has passed");
  }
  if (!is_refusing_) return call_once(call);
  const MutexLock alone(one_by_one_);
  return call_once(call);
}

bool PatientLayer::call_once(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() != ESHUTDOWN || right_is_lost()) throw;
    is_refusing_ = true;
    const Duration pause = pause_after_refusal();
    if (pause == Duration::zero()) throw;
    clock_.sleep_for(pause);
    return false;
  }
  const MutexLock lock(mutex_);
  got_on_at_ = clock_.now();
  pause_ = std::max(kFirstPause, pause_ / 4);
  return true;
}

bool PatientLayer::right_is_lost() {
  const auto now = below().identity();
  return now != nullptr && now->right == WriteRight::lost;
}

// Returns zero if waiting longer is useless. A refused call uses up the allowance, so the pauses
// grow until the shortest part fits into one.
Duration PatientLayer::pause_after_refusal() {
  const MutexLock lock(mutex_);
  if (clock_.now() - got_on_at_ >= kSilence) return Duration::zero();
  return std::exchange(pause_, pause_ * 2);
}

}  // namespace nbdstack
