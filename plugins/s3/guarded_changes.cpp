#include "plugins/s3/guarded_changes.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/log.hpp"
#include "common/sync/system_clock.hpp"

namespace nbdstack {
namespace {

// Refusals in a row that are no fault of anybody's: each open change may come late once.
constexpr unsigned kRefusals_max = 8;

Clock& clock_of(const ChangeGuard& guard) {
  static SystemClock machine_clock;
  return guard.clock != nullptr ? *guard.clock : machine_clock;
}

// As most services have it. Where the ETag is something else, it is not that of any other body.
ObjectVersion version_of(std::span<const std::byte> body) {
  return ObjectVersion::of('"' + to_hex(md5(body)) + '"');
}

ObjectVersion version_of(const std::optional<ObjectInfo>& object) {
  return object.has_value() ? ObjectVersion::of(object->etag) : ObjectVersion::absent();
}

Error changed_by_somebody(const std::string& key, const ObjectVersion& known,
                          const std::optional<ObjectInfo>& found) {
  return {EIO, fmt::format("{}: somebody else has changed this object: this server knows {}, and "
                           "now there is {}. Nothing is written over it; when it is clear who "
                           "wrote it, start the server again to go on from what lies there",
                           key, known.describe(), version_of(found).describe())};
}

}  // namespace

GuardedChanges::GuardedChanges(ObjectStore& store, const ChangeGuard& guard)
    : store_(store),
      conditions_(guard.conditions),
      bound_(guard.bound),
      clock_(clock_of(guard)),
      open_(clock_) {}

ObjectVersion GuardedChanges::note_read(const Target& target,
                                        const std::optional<ObjectInfo>& object) {
  ObjectVersion version = version_of(object);
  const auto known = versions_.find(target.block);
  if (known.is_certain && known.version != version && !open_.explains(target.block, version)) {
    throw changed_by_somebody(target.key, known.version, object);
  }
  versions_.set(target.block, version);
  return version;
}

void GuardedChanges::learn(BlockNumber block, const std::string& etag) {
  if (has_conditions()) versions_.learn(block, etag);
}

GuardedChanges::Base GuardedChanges::base_of(const Target& target, const ObjectVersion& seen) {
  if (!has_conditions()) return {};
  const auto known = versions_.find(target.block);
  if (known.is_certain) return {known.version, true};
  if (seen.is_known()) return {seen, true};
  if (known.version.is_known() && believes_listings_) return {known.version, false};
  return {version_of(store_.look_up(target.key)), true};
}

// After a failure. What an attempt of ours may have made of the object is recognised when it is
// met; where that cannot be, the next change looks first.
void GuardedChanges::restore(const Target& target, const Base& base, const Doubt& doubt) {
  if (!has_conditions() || !base.is_certain) return;
  if (doubt.is_open && !conditions_.etags_are_md5) return;
  versions_.set(target.block, base.version);
}

void GuardedChanges::wait_until_absence_lasts(std::span<const Target> targets) {
  if (has_conditions()) return;
  for (const Target& each : targets) wait_until_harmless(each, ObjectVersion::absent());
}

void GuardedChanges::wait_until_harmless(const Target& target, const ObjectVersion& next) {
  Duration left = open_.time_to_wait(target.block, next);
  if (left <= Duration::zero()) return;
  const std::string text = fmt::format(
      "{}: an earlier change of this object was never answered and may still be done: "
      "the next one waits for {:.1f} s, so that it is not undone",
      target.key, std::chrono::duration<double>(left).count());
  if (left > ChangeGuard::kEndedBound) {
    log::write_error(text);
  } else {
    log::write_debug(text);
  }
  while (left > Duration::zero()) {
    clock_.sleep_for(left);
    left = open_.time_to_wait(target.block, next);
  }
}

void GuardedChanges::note_doubt(const Target& target, const OpenChange& change,
                                const Doubt& doubt) {
  if (!doubt.is_open) return;
  const Duration bound =
      doubt.was_given_up ? bound_ : std::min<Duration>(bound_, ChangeGuard::kEndedBound);
  open_.add(target.block, change, bound);
}

void GuardedChanges::put(const Target& target, std::span<const std::byte> body,
                         const PutOptions& options, const ObjectVersion& seen) {
  Base base = base_of(target, seen);
  for (unsigned refusals = 1;; ++refusals) {
    const PutOutcome outcome = attempt_put(target, body, options, base);
    if (outcome.result == PutResult::stored) {
      open_.supersede(target.block);
      if (has_conditions()) versions_.set(target.block, ObjectVersion::of(outcome.etag));
      return;
    }
    restore(target, base);
    if (outcome.result == PutResult::unsupported) {
      throw Error(EIO, fmt::format("{}: the store kept conditions when it was tried at the start, "
                                   "and says now that it knows none",
                                   target.key));
    }
    base = after_refusal(target, base, version_of(body), refusals);
  }
}

PutOutcome GuardedChanges::attempt_put(const Target& target, std::span<const std::byte> body,
                                       PutOptions options, const Base& base) {
  if (open_.has_any(target.block)) wait_until_harmless(target, version_of(body));
  if (base.version.is_absent()) options.mode = PutMode::create_only;
  if (base.version.is_present()) {
    options.mode = PutMode::if_match;
    options.etag = conditions_.etag_to_send(base.version.etag());
  }
  Doubt doubt;
  options.doubt = &doubt;
  if (has_conditions()) versions_.forget(target.block);
  PutOutcome outcome;
  try {
    outcome = store_.put(target.key, body, options);
  } catch (...) {
    if (doubt.is_open) note_doubt(target, {base.version, version_of(body)}, doubt);
    restore(target, base, doubt);
    throw;
  }
  if (doubt.is_open) note_doubt(target, {base.version, version_of(body)}, doubt);
  return outcome;
}

GuardedChanges::Base GuardedChanges::after_refusal(const Target& target, const Base& base,
                                                   const ObjectVersion& wanted, unsigned refusals) {
  const auto object = store_.look_up(target.key);
  const ObjectVersion found = version_of(object);
  if (found == wanted) return {found, true};
  const bool is_ours = found == base.version || open_.explains(target.block, found);
  if (is_ours && refusals < kRefusals_max) return {found, true};
  if (is_ours) {
    throw Error(EIO, fmt::format("{}: the store refuses {} times to change it, as it does where an "
                                 "object has changed, but it has not: it is {}",
                                 target.key, refusals, found.describe()));
  }
  if (!base.is_certain && is_listed_as(target.key, base.version)) {
    if (believes_listings_.exchange(false)) {
      log::error(
          "{}: listings of this store show other ETags than its objects have: they are not "
          "relied on any more",
          target.key);
    }
    return {found, true};
  }
  if (!base.is_certain) {
    versions_.set(target.block, found);
    throw Error(EIO, fmt::format("{}: a listing showed this object with {}, and now there is {}: "
                                 "somebody else has changed it, or the store's listings are old",
                                 target.key, base.version.describe(), found.describe()));
  }
  throw changed_by_somebody(target.key, base.version, object);
}

bool GuardedChanges::is_listed_as(const std::string& key, const ObjectVersion& version) {
  bool is_so = false;
  store_.list(key, "", [&](const ListedObject& object) {
    is_so = object.key == key && ObjectVersion::of(object.etag) == version;
    return false;
  });
  return is_so;
}

void GuardedChanges::remove(std::span<const Target> targets) {
  std::vector<Doomed> doomed;
  for (const Target& target : targets) {
    Base base;
    if (has_conditions()) {
      const auto known = versions_.find(target.block);
      if (known.is_certain || believes_listings_) base = {known.version, known.is_certain};
      // There was none, but a change of ours may have made one since.
      if (base.is_certain && base.version.is_absent() && open_.has_any(target.block)) {
        base = after_refusal(target, base, ObjectVersion::absent(), 1);
      }
      if (base.is_certain && base.version.is_absent()) continue;
    }
    doomed.push_back({target, base});
  }
  for (unsigned refusals = 1; !doomed.empty(); ++refusals) {
    std::vector<Doomed> rest;
    for (const Doomed& each : attempt_remove(doomed)) {
      restore(each.target, each.base);
      const Base base = after_refusal(each.target, each.base, ObjectVersion::absent(), refusals);
      if (base.version.is_absent()) {
        versions_.set(each.target.block, base.version);
      } else {
        rest.push_back({each.target, base});
      }
    }
    doomed = std::move(rest);
  }
}

std::vector<GuardedChanges::Doomed> GuardedChanges::attempt_remove(std::span<const Doomed> doomed) {
  std::vector<Removal> removals;
  for (const Doomed& each : doomed) {
    wait_until_harmless(each.target, ObjectVersion::absent());
    removals.push_back(
        {.key = each.target.key, .etag = conditions_.etag_to_send(condition_of(each).etag())});
  }
  if (has_conditions()) {
    for (const Doomed& each : doomed) versions_.forget(each.target.block);
  }
  Doubt doubt;
  const auto note_doubts = [&] {
    for (const Doomed& each : doomed) {
      note_doubt(each.target, {condition_of(each), ObjectVersion::absent()}, doubt);
    }
  };
  std::vector<std::string> refused;
  try {
    refused = store_.remove_matching(removals, doubt);
  } catch (...) {
    note_doubts();
    for (const Doomed& each : doomed) restore(each.target, each.base, doubt);
    throw;
  }
  note_doubts();
  std::sort(refused.begin(), refused.end());
  std::vector<Doomed> left;
  for (const Doomed& each : doomed) {
    if (std::binary_search(refused.begin(), refused.end(), each.target.key)) {
      left.push_back(each);
      continue;
    }
    open_.supersede(each.target.block);
    if (has_conditions()) versions_.set(each.target.block, ObjectVersion::absent());
  }
  return left;
}

}  // namespace nbdstack
