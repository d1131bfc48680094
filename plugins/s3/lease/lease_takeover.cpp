#include "plugins/s3/lease/lease_takeover.hpp"

#include <fmt/core.h>

#include "plugins/s3/lease/lease_timing.hpp"

namespace nbdstack {

Takeover TakeoverWatch::judge(const std::optional<SeenLease>& seen, TimePoint answered_at) {
  const std::string text = seen.has_value() ? seen->version.text : std::string();
  const bool is_same = !has_looked_ || text == last_text_;
  if (!has_looked_ || !is_same) same_since_ = answered_at;
  has_looked_ = true;
  last_text_ = text;

  if (!seen.has_value()) return {.verdict = TakeoverVerdict::take};
  if (!seen->record.has_value()) {
    return {.verdict = TakeoverVerdict::refuse, .reason = seen->fault};
  }
  const LeaseRecord& record = *seen->record;
  if (record.state == LeaseRecord::State::released || record.owner == own_id_) {
    return {.verdict = TakeoverVerdict::take};
  }
  return judge_held(record, is_same, answered_at);
}

Takeover TakeoverWatch::judge_held(const LeaseRecord& record, bool is_same,
                                   TimePoint answered_at) const {
  const std::string owner = record.owner_in_words();
  const Duration expiry = RecordTiming{record.duration}.expiry();
  if (processes_.is_gone(record.process)) {
    return {.verdict = TakeoverVerdict::take,
            .reason = fmt::format("{}, has ended without giving it back", owner)};
  }
  if (!is_same) return {.verdict = TakeoverVerdict::refuse, .reason = owner};
  const Duration watched = answered_at - same_since_;
  if (watched >= expiry) {
    return {.verdict = TakeoverVerdict::take,
            .reason = fmt::format("{}, has stopped renewing it", owner)};
  }
  return {.verdict = TakeoverVerdict::wait, .reason = owner, .longest_wait = expiry - watched};
}

}  // namespace nbdstack
