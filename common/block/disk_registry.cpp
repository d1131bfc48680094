#include "common/block/disk_registry.hpp"

#include <algorithm>

#include "common/error.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

// Returns whether another writer may have written since the disk was shown as `then`.
bool is_outdated(const ShownDisk& then, const ShownDisk& now) {
  if (then.identity == nullptr || now.identity == nullptr) return false;
  const auto& before = then.identity->term;
  const auto& after = now.identity->term;
  return before && after && !after->still_true(before->term);
}

std::string name_of(const OpenRequest& request) {
  return "export " + quoted_name(request.export_name);
}

}  // namespace

bool ShownDisk::is(const ShownDisk& other) const {
  if (size_bytes != other.size_bytes) return false;
  if (identity == nullptr || other.identity == nullptr) return identity == other.identity;
  return identity->id == other.identity->id;
}

bool default_export_may_be(const OpenRequest& request, const ShownDisk& disk, ExportRule rule) {
  if (disk.identity != nullptr || rule == ExportRule::one) return true;
  return is_default_export(request.export_name) && !request.is_tls;
}

// One client's use of a State, from begin() to the end of the client's stay.
class DiskRegistryCore::Use {
 public:
  Use(std::weak_ptr<DiskRegistryCore> core, EntryPtr entry)
      : core_(std::move(core)), entry_(std::move(entry)) {}
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    // The registry may be gone when the client leaves.
    const auto registry = counts_ ? core_.lock() : nullptr;
    if (registry != nullptr) registry->client_left(entry_);
  }

  void begin() {
    ++entry_->users;
    counts_ = true;
  }

 private:
  const std::weak_ptr<DiskRegistryCore> core_;
  const EntryPtr entry_;
  bool counts_ = false;
};

DiskRegistryCore::Any DiskRegistryCore::find_or_make(const OpenRequest& request,
                                                     const ShownDisk& disk,
                                                     const std::function<Any()>& make) {
  const auto deadline = std::chrono::steady_clock::now() + options_.patience;
  const MutexLock lock(mutex_);
  while (true) {
    const Verdict verdict = judge(request, disk);
    switch (verdict.kind) {
      case Verdict::Kind::share:
        verdict.entry->disk = disk;
        return share(verdict.entry, request);
      case Verdict::Kind::wait:
        changed_.wait(mutex_);
        break;
      case Verdict::Kind::evict:
        evict(verdict.entry);
        break;
      case Verdict::Kind::refuse:
        if (std::chrono::steady_clock::now() >= deadline) refuse(*verdict.entry, request, disk);
        changed_.wait_until(mutex_, deadline);
        break;
      case Verdict::Kind::make: {
        const auto entry = std::make_shared<Entry>();
        entry->opened_by = {request.export_name, request.readonly, request.is_tls, nullptr};
        entry->disk = disk;
        entries_.push_back(entry);
        Any state = make_state(entry, make);
        share(entry, request);
        evict_idle();
        return state;
      }
    }
  }
}

DiskRegistryCore::Relation DiskRegistryCore::relation(const Entry& entry,
                                                      const OpenRequest& request,
                                                      const ShownDisk& disk) const {
  const bool same_size = entry.disk.size_bytes == disk.size_bytes;
  const bool same_name = entry.opened_by.export_name == request.export_name &&
                         entry.opened_by.is_tls == request.is_tls;
  const auto& known = entry.disk.identity;
  Relation found = Relation::different;
  if (known != nullptr && disk.identity != nullptr) {
    if (known->id == disk.identity->id) found = Relation::same;
  } else if (known != nullptr || disk.identity != nullptr) {
    const bool may_be_one = rule_ != ExportRule::each || same_name;
    if (same_size && may_be_one) found = Relation::unclear;
  } else if (rule_ == ExportRule::one || same_name) {
    found = Relation::same;
  } else if (rule_ == ExportRule::found_out && same_size) {
    found = Relation::unclear;
  }
  if (found == Relation::same && !same_size) found = Relation::resized;
  if (!options_.refuses && found != Relation::same) found = Relation::different;
  return found;
}

DiskRegistryCore::Verdict DiskRegistryCore::judge(const OpenRequest& request,
                                                  const ShownDisk& disk) const {
  for (const EntryPtr& entry : entries_) {
    const Relation related = relation(*entry, request, disk);
    if (related == Relation::different) continue;
    const bool is_new_enough = !is_outdated(entry->disk, disk) || !may_leave(*entry);
    if (related == Relation::same && entry->phase != Phase::leaving && is_new_enough) {
      return {entry->phase == Phase::ready ? Verdict::Kind::share : Verdict::Kind::wait, entry};
    }
    // A State that leaves is an obstacle until its end. That is near, but another client's
    // connection brings it about: so this client waits for it no longer than for a client.
    return {may_leave(*entry) ? Verdict::Kind::evict : Verdict::Kind::refuse, entry};
  }
  return {};
}

bool DiskRegistryCore::may_leave(const Entry& entry) const {
  return entry.phase == Phase::ready && entry.users == 0 && may_go_(entry.state.get());
}

DiskRegistryCore::EntryPtr DiskRegistryCore::longest_idle_of_too_many() const {
  std::size_t idle = 0;
  EntryPtr longest;
  for (const EntryPtr& entry : entries_) {
    if (!may_leave(*entry)) continue;
    ++idle;
    if (longest == nullptr || entry->idle_since < longest->idle_since) longest = entry;
  }
  return idle > options_.most_idle ? longest : nullptr;
}

DiskRegistryCore::Any DiskRegistryCore::share(const EntryPtr& entry, const OpenRequest& request) {
  const auto use = std::make_shared<Use>(weak_from_this(), entry);
  request.stay->hold(use);
  use->begin();
  return entry->state;
}

void DiskRegistryCore::client_left(const EntryPtr& entry) {
  const MutexLock lock(mutex_);
  if (--entry->users == 0) entry->idle_since = ++times_idle_;
  changed_.notify_all();
  evict_idle();
}

DiskRegistryCore::Any DiskRegistryCore::make_state(const EntryPtr& entry,
                                                   const std::function<Any()>& make) {
  Any state;
  try {
    const MutexUnlock unlocked(mutex_);
    state = told_when_it_ends(entry, make());
  } catch (...) {
    remove(entry);
    throw;
  }
  entry->state = state;
  entry->alive = state;
  entry->phase = Phase::ready;
  changed_.notify_all();
  return state;
}

// Returns the State with owners of its own: when the last one ends, the State does, and the
// registry learns of it.
DiskRegistryCore::Any DiskRegistryCore::told_when_it_ends(const EntryPtr& entry, Any state) {
  void* const address = state.get();
  return {address,
          [core = weak_from_this(), held = entry, state = std::move(state)](void*) mutable {
            state.reset();
            // This function lives for as long as the entry refers to the State: if it kept the
            // entry, neither would ever end.
            const EntryPtr ended = std::move(held);
            const auto registry = core.lock();
            if (registry == nullptr) return;
            const MutexLock lock(registry->mutex_);
            registry->remove(ended);
          }};
}

void DiskRegistryCore::evict(const EntryPtr& entry) {
  entry->phase = Phase::leaving;
  Any state = std::move(entry->state);
  const MutexUnlock unlocked(mutex_);
  state.reset();
}

void DiskRegistryCore::evict_idle() {
  while (const EntryPtr entry = longest_idle_of_too_many()) evict(entry);
}

void DiskRegistryCore::remove(const EntryPtr& entry) {
  entries_.remove(entry);
  changed_.notify_all();
}

std::vector<std::pair<std::string, DiskRegistryCore::Any>> DiskRegistryCore::all() const {
  std::vector<std::pair<std::string, Any>> states;
  const MutexLock lock(mutex_);
  states.reserve(entries_.size());
  for (const EntryPtr& entry : entries_) {
    if (Any state = entry->alive.lock()) {
      states.emplace_back(quoted_name(entry->opened_by.export_name), std::move(state));
    }
  }
  return states;
}

void DiskRegistryCore::tidy() {
  const MutexLock lock(mutex_);
  changed_.notify_all();  // for clients that wait for one of them to leave
  evict_idle();
}

void DiskRegistryCore::clear() {
  std::list<EntryPtr> entries;
  {
    const MutexLock lock(mutex_);
    entries.swap(entries_);
  }
  for (const EntryPtr& entry : entries) entry->state.reset();
}

void DiskRegistryCore::refuse(const Entry& other, const OpenRequest& request,
                              const ShownDisk& disk) const {
  throw Error(EBUSY, fmt::format("{}: {}", options_.filter, doubt(other, request, disk)));
}

std::string DiskRegistryCore::doubt(const Entry& other, const OpenRequest& request,
                                    const ShownDisk& disk) const {
  const bool unwritten = other.phase == Phase::ready && other.users == 0;
  const std::string needed = unwritten ? "holds what is not written yet" : "is in use";
  const Relation related = relation(other, request, disk);
  if (related == Relation::same) {
    return fmt::format("{} is still being closed for the clients that have left; connect again",
                       name_of(request));
  }
  if (related == Relation::resized) {
    return fmt::format(
        "{} is {} bytes long now and was {} when it was opened, and what was opened then {}: it is "
        "served with its new size when {}",
        name_of(request), disk.size_bytes, other.disk.size_bytes, needed,
        unwritten ? "that is written" : "the clients of that time have left");
  }
  if (other.disk.identity != nullptr || disk.identity != nullptr) {
    const bool known = disk.identity != nullptr;
    return fmt::format(
        "the plugin tells which disk {} is and does not tell it of {}, so they may be one; {} {}: "
        "use one of them at a time",
        name_of(known ? request : other.opened_by), name_of(known ? other.opened_by : request),
        name_of(other.opened_by), needed);
  }
  const bool same_name = other.opened_by.export_name == request.export_name;
  const std::string mine =
      same_name ? name_of(request) + (request.is_tls ? " with TLS" : "") : name_of(request);
  const std::string theirs = same_name ? "the same" + std::string(request.is_tls ? "" : " with TLS")
                                       : name_of(other.opened_by);
  return fmt::format(
      "the plugin does not tell whether {} and {}{} are one disk, and the latter {}: set "
      "{}-exports=one if they are, {}-exports=each if each {} is a disk of its own",
      mine, theirs, same_name && request.is_tls ? " without" : "", needed, options_.filter,
      options_.filter, same_name ? "of them" : "name");
}

}  // namespace nbdstack
