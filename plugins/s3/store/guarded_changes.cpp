#include "plugins/s3/store/guarded_changes.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "common/sync/system_clock.hpp"

namespace nbdstack {
namespace {

// The refusals in a row that need no other writer: each open change may arrive late once.
constexpr unsigned kRefusals_max = 8;

Clock& clock_of(const ChangeGuard& guard) {
  static SystemClock machine_clock;
  return guard.clock != nullptr ? *guard.clock : machine_clock;
}

// Returns the version that most services give the body. If a service has other ETags, this is not
// the ETag of any other body.
ObjectVersion version_of(std::span<const std::byte> body) {
  return ObjectVersion::of('"' + to_hex(md5(body)) + '"');
}

ObjectVersion version_of(const std::optional<ObjectInfo>& object) {
  return object.has_value() ? ObjectVersion::of(object->etag) : ObjectVersion::absent();
}

Error changed_by_somebody(const std::string& key, const ObjectVersion& known,
                          const std::optional<ObjectInfo>& found) {
  const char* const way_out =
      found.has_value()
          ? "Nothing is written over it until a client has read the block through this server, or "
            "the object has been removed (keep a copy)"
          : "It stays like that until the whole block is written the next time, or zeroed";
  return {EIO, fmt::format("{}: somebody else has changed this object: this server knows {}, and "
                           "now there is {}. {}",
                           key, known.describe(), version_of(found).describe(), way_out)};
}

}  // namespace

GuardedChanges::GuardedChanges(ObjectStore& store, const ChangeGuard& guard)
    : store_(store),
      conditions_(guard.conditions),
      removals_(guard.conditions.of_removals),
      bound_(guard.bound),
      clock_(clock_of(guard)),
      open_(clock_) {}

ObjectVersion GuardedChanges::note_read(const Target& target,
                                        const std::optional<ObjectInfo>& object) {
  ObjectVersion version = version_of(object);
  const auto known = versions_.find(target.block);
  if (known.is_certain && known.version != version && !is_ours(target, object)) {
    versions_.dispute(target.block);
    throw changed_by_somebody(target.key, known.version, object);
  }
  versions_.set(target.block, version);
  return version;
}

void GuardedChanges::note_seen(const Target& target, const std::optional<ObjectInfo>& object) {
  const ObjectVersion version = version_of(object);
  if (!versions_.accept(target.block, version)) return;
  log::error(
      "{}: a client has read this object as somebody else has left it, with {}: changes go on from "
      "there",
      target.key, version.describe());
}

bool GuardedChanges::is_ours(const Target& target, const std::optional<ObjectInfo>& object) const {
  return open_.explains(target.block, version_of(object),
                        object.has_value() ? object->whole_checksum : std::string());
}

void GuardedChanges::learn(BlockNumber block, const std::string& etag) {
  if (has_conditions()) versions_.learn(block, etag);
}

GuardedChanges::Base GuardedChanges::base_of(const Target& target, std::span<const std::byte> body,
                                             const ObjectVersion& seen) {
  if (!has_conditions()) return {};
  const auto known = versions_.find(target.block);
  // A look-up costs less than a body that would be refused again.
  if (known.is_disputed) {
    return after_refusal(target, {known.version, known.is_certain}, version_of(body), 1);
  }
  if (known.is_certain) return {known.version, true};
  if (seen.is_known()) return {seen, true};
  if (known.version.is_known() && believes_listings_) return {known.version, false};
  return {version_of(store_.look_up(target.key)), true};
}

// A version that our attempt may have left is recognised when it is met; if that is not possible,
// the next change looks the object up first.
void GuardedChanges::restore(const Target& target, const Base& base, bool is_recognised) {
  if (has_conditions() && base.is_certain && is_recognised) {
    versions_.set(target.block, base.version);
  }
}

void GuardedChanges::note_done(const Target& target, const ObjectVersion& version) {
  open_.supersede(target.block);
  if (!has_conditions() || !versions_.settle(target.block, version)) return;
  log::error(
      "{}: this object, which somebody else had changed, is as this server knows it again, and has "
      "been changed",
      target.key);
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
    log::error("{}", text);
  } else {
    log::debug("{}", text);
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
  open_.add(target.block, change, ChangeGuard::by_any_clock(bound));
}

void GuardedChanges::put(const Target& target, std::span<const std::byte> body,
                         const PutOptions& options, const ObjectVersion& seen) {
  Base base = base_of(target, body, seen);
  for (unsigned refusals = 1;; ++refusals) {
    const PutOutcome outcome = attempt_put(target, body, options, base);
    if (outcome.result == PutResult::stored) {
      note_done(target, ObjectVersion::of(outcome.etag));
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
  const auto note = [&] {
    if (!doubt.is_open) return;
    note_doubt(target,
               {.over = base.version,
                .result = version_of(body),
                .checksum = options.with_checksum ? to_hex(xxh3_128(body)) : std::string()},
               doubt);
  };
  PutOutcome outcome;
  try {
    outcome = store_.put(target.key, body, options);
  } catch (...) {
    note();
    restore(target, base, !doubt.is_open || conditions_.etags_are_md5 || options.with_checksum);
    throw;
  }
  note();
  return outcome;
}

GuardedChanges::Base GuardedChanges::after_refusal(const Target& target, const Base& base,
                                                   const ObjectVersion& wanted, unsigned refusals) {
  const auto object = store_.look_up(target.key);
  const ObjectVersion found = version_of(object);
  if (found == wanted) return {found, true};
  const bool is_expected = found == base.version || is_ours(target, object);
  if (is_expected && refusals < kRefusals_max) return {found, true};
  if (is_expected) {
    throw Error(EIO, fmt::format("{}: the store refuses {} times to change it, as it does where an "
                                 "object has changed, but it has not: it is {}",
                                 target.key, refusals, found.describe()));
  }
  if (!base.is_certain) {
    if (base.version.is_known()) stop_believing_listings(target.key);
    return {found, true};
  }
  const bool is_first = versions_.dispute(target.block);
  // An object that is gone, and was reported, cannot be lost a second time.
  if (!is_first && found.is_absent()) return {found, true};
  throw changed_by_somebody(target.key, base.version, object);
}

// A listing that was old, or shows other ETags than the objects have, is not the only one.
void GuardedChanges::stop_believing_listings(const std::string& key) {
  if (!believes_listings_.exchange(false)) return;
  log::error(
      "{}: a listing has shown another ETag than this object has: ETags in listings are not relied "
      "on any more, and the first change of an object costs a request more",
      key);
}

// A removal without a known version, carried out late, would remove an object that the next owner
// has stored.
bool GuardedChanges::wants_look(BlockNumber block) const {
  if (!has_conditions() || !removals_.may_be_kept()) return false;
  const auto known = versions_.find(block);
  return !known.version.is_known() || (!known.is_certain && !believes_listings_);
}

void GuardedChanges::look(const Target& target) {
  versions_.set(target.block, version_of(store_.look_up(target.key)));
}

std::vector<GuardedChanges::Doomed> GuardedChanges::doomed_of(std::span<const Target> targets) {
  std::vector<Doomed> doomed;
  for (const Target& target : targets) {
    Base base;
    if (has_conditions()) {
      if (wants_look(target.block)) look(target);
      const auto known = versions_.find(target.block);
      if (known.is_certain || believes_listings_) base = {known.version, known.is_certain};
      // There was no object, but a change of ours may have made one since.
      if (known.is_disputed ||
          (base.is_certain && base.version.is_absent() && open_.has_any(target.block))) {
        base = after_refusal(target, base, ObjectVersion::absent(), 1);
        if (base.version.is_absent()) note_done(target, base.version);
      }
      if (base.is_certain && base.version.is_absent()) continue;
    }
    doomed.push_back({target, base});
  }
  return doomed;
}

void GuardedChanges::remove(std::span<const Target> targets) {
  std::vector<Doomed> doomed = doomed_of(targets);
  if (has_conditions() && removals_.are_untried()) try_conditions(doomed);
  for (unsigned refusals = 1; !doomed.empty(); ++refusals) {
    std::vector<Doomed> rest;
    for (const Doomed& each : attempt_remove(doomed)) {
      restore(each.target, each.base);
      const Base base = after_refusal(each.target, each.base, ObjectVersion::absent(), refusals);
      if (base.version.is_absent()) {
        note_done(each.target, base.version);
        continue;
      }
      if (base.version == each.base.version) removals_.right_one_refused();
      rest.push_back({each.target, base});
    }
    doomed = std::move(rest);
  }
}

// Sends the removal of one of them with an ETag that no object has. A store that keeps conditions
// refuses it; else the object is removed.
void GuardedChanges::try_conditions(std::vector<Doomed>& doomed) {
  const auto one = std::find_if(doomed.begin(), doomed.end(),
                                [](const Doomed& each) { return each.base.version.is_present(); });
  if (one == doomed.end()) return;
  // A removal that was not refused proves nothing if there may have been no object to remove.
  const bool was_there = one->base.is_certain && !open_.has_any(one->target.block);
  Doubt doubt;
  try {
    if (!send_removals(std::span(&*one, 1), Condition::nobodys, doubt).empty()) {
      restore(one->target, one->base);
      return;
    }
  } catch (const Error& error) {
    // The store is busy, or another writer changes the object.
    if (doubt.may_pass || error.code() == ETIMEDOUT || error.code() == ESHUTDOWN) throw;
    log::debug("{}: the store keeps no conditions of removals: {}", one->target.key, error.what());
    Doubt without_condition;
    send_removals(std::span(&*one, 1), Condition::none, without_condition);
    removals_.wrong_one_ignored();
  }
  if (was_there) removals_.wrong_one_ignored();
  note_done(one->target, ObjectVersion::absent());
  doomed.erase(one);
}

std::vector<GuardedChanges::Doomed> GuardedChanges::attempt_remove(std::span<const Doomed> doomed) {
  Doubt doubt;
  std::vector<std::string> refused =
      send_removals(doomed, removals_.may_be_kept() ? Condition::its_own : Condition::none, doubt);
  std::sort(refused.begin(), refused.end());
  std::vector<Doomed> left;
  for (const Doomed& each : doomed) {
    if (std::binary_search(refused.begin(), refused.end(), each.target.key)) {
      left.push_back(each);
      continue;
    }
    if (each.base.version.is_present()) removals_.right_one_accepted();
    note_done(each.target, ObjectVersion::absent());
  }
  return left;
}

std::vector<std::string> GuardedChanges::send_removals(std::span<const Doomed> doomed,
                                                       Condition condition, Doubt& doubt) {
  std::vector<Removal> removals;
  for (const Doomed& each : doomed) {
    wait_until_harmless(each.target, ObjectVersion::absent());
    std::string etag;
    if (condition == Condition::its_own) etag = each.base.version.etag();
    if (condition == Condition::nobodys) etag = RemovalConditions::kNobodysEtag;
    removals.push_back({.key = each.target.key, .etag = conditions_.etag_to_send(etag)});
  }
  if (has_conditions()) {
    for (const Doomed& each : doomed) versions_.forget(each.target.block);
  }
  const auto note_doubts = [&] {
    const bool is_bound = condition == Condition::its_own && removals_.are_relied_on();
    for (const Doomed& each : doomed) {
      note_doubt(each.target,
                 {is_bound ? each.base.version : ObjectVersion(), ObjectVersion::absent()}, doubt);
    }
  };
  std::vector<std::string> refused;
  try {
    refused = store_.remove_matching(removals, doubt);
  } catch (...) {
    note_doubts();
    for (const Doomed& each : doomed) restore(each.target, each.base);
    throw;
  }
  // The first of several attempts may have removed the object, and the last found none.
  const bool is_proof = condition == Condition::nobodys && !refused.empty() && !doubt.is_open;
  if (is_proof) removals_.wrong_one_refused();
  note_doubts();
  return refused;
}

}  // namespace nbdstack
