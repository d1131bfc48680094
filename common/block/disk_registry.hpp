// What a filter keeps of the disks that it is over: one State for each disk, whatever the names
// under which clients open it.
//
// Which disk a client has opened is what the layer below tells (disk_identity.hpp). Where it tells
// nothing, two names may or may not be one disk, and so may one name with and without TLS. What is
// not known to be one disk is neither shared nor kept apart: the second client is refused, or the
// administrator has said which it is (ExportRule).
//
// A State that the registry holds, against a client that opens a disk:
//
//   the State is of         the client's disk is     they are
//   ---------------------   ----------------------   --------------------------------------------
//   a known disk            known                    the same if the ids are, else different
//   a known disk            unknown, or reversed     unclear if the sizes are equal (`each`: and
//                                                    the names), else different
//   an unknown disk         unknown                  found_out: the same if name and TLS are, else
//                                                    unclear if the sizes are, else different
//                                                    one: the same
//                                                    each: the same if name and TLS are, else
//                                                    different
//
//   and then       the State is used by     it is idle, and       it is idle and
//                  clients, or being made   may not go            may go
//   ------------   ----------------------   -------------------   -----------------------------
//   the same       shared, when it is made  shared                shared
//   .. but of      waits a moment, then     waits a moment,       leaves, and another is made
//   another size   is refused               then is refused
//   .. but others  shared                   shared                leaves, and another is made
//   wrote since
//   unclear        waits a moment, then     waits a moment,       leaves; looks on
//                  is refused               then is refused
//   different      looks on                 looks on              looks on
//
// "Others wrote since": by the terms of the identities; what is in use and unwritten then is the
// filter's own affair. "Waits a moment": a client that has just cut its connection may not have been noticed yet.
//
// The life of a State:
//
//   being made   by the first client of its disk; clients of the same disk wait for that. If it
//                fails, the State is gone, and the next of those who wait tries again
//   in use       by at least one client
//   idle         the last client has left. It is kept, so that a client that comes back finds it
//                warm. When there are more idle ones than `most_idle`, the longest idle leave, of
//                those that may go (that hold nothing unwritten)
//   leaving      the registry has let go of it; its last layers are about to be closed. Who needs
//                its place waits for its end, because it may own a file that has one owner
//
// Any thread. The registry's lock is held while may_go is called, but never while a State is made
// or destroyed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/block/disk_identity.hpp"
#include "common/block/layer.hpp"
#include "common/block/open_request.hpp"

namespace nbdstack {

// What the names of exports are where the layer below tells no identity.
enum class ExportRule : std::uint8_t {
  found_out,  // nobody has said: a second name is refused while the first one's State is needed
  one,        // all names show one disk
  each        // each name is a disk of its own, and so is each with TLS and without
};

// What a client's layer below shows when it is opened.
struct ShownDisk {
  std::uint64_t size_bytes = 0;
  std::shared_ptr<const DiskIdentity> identity;  // null: it tells none

  static ShownDisk of(Layer& below) { return {below.traits().size_bytes, identity_of(below)}; }

  // Whether this is what a State is about that was made for `other`.
  [[nodiscard]] bool is(const ShownDisk& other) const;
};

// Whether the default export, opened for no client, can be the disk that `request` has opened as
// `disk`. Where the layer below tells identities, what it shows then has to be compared.
bool default_export_may_be(const OpenRequest& request, const ShownDisk& disk, ExportRule rule);

// The part that is the same for all kinds of State.
class DiskRegistryCore : public std::enable_shared_from_this<DiskRegistryCore> {
 public:
  struct Options {
    std::string filter;  // its name, as the parameter FILTER-exports begins and messages do
    std::size_t most_idle = 4;
    // How long a client that would be refused waits for others to leave.
    std::chrono::milliseconds patience{2000};
    // Whether an unclear disk is refused. Not where a State is only a hint, which may be too many
    // or too few: then what is unclear or of another size counts as different.
    bool refuses = true;
  };
  using Any = std::shared_ptr<void>;
  using MayGo = std::function<bool(const void*)>;

  // `rule` is read at each open; it outlives the registry.
  DiskRegistryCore(Options options, const ExportRule& rule, MayGo may_go)
      : options_(std::move(options)), rule_(rule), may_go_(std::move(may_go)) {}

  Any find_or_make(const OpenRequest& request, const ShownDisk& disk,
                   const std::function<Any()>& make);
  [[nodiscard]] std::vector<std::pair<std::string, Any>> all() const;
  void tidy();
  void clear();

 private:
  class Use;
  enum class Phase : std::uint8_t { making, ready, leaving };
  struct Entry {
    OpenRequest opened_by;  // its first client; without its stay
    ShownDisk disk;         // as its last client has found it
    Phase phase = Phase::making;
    std::size_t users = 0;
    std::uint64_t idle_since = 0;  // counts the times that something became idle
    Any state;                     // while it is ready
    std::weak_ptr<void> alive;     // from then on until its end
  };
  using EntryPtr = std::shared_ptr<Entry>;
  using Lock = std::unique_lock<std::mutex>;

  // What is to be done for a client next.
  struct Verdict {
    enum class Kind : std::uint8_t { make, share, wait, evict, refuse } kind = Kind::make;
    EntryPtr entry;  // the one that is shared, waited for, evicted, or in the way
  };
  enum class Relation : std::uint8_t { same, resized, unclear, different };

  [[nodiscard]] Relation relation(const Entry& entry, const OpenRequest& request,
                                  const ShownDisk& disk) const;

  // All with mutex_ held.
  [[nodiscard]] Verdict judge(const OpenRequest& request, const ShownDisk& disk) const;
  [[nodiscard]] bool may_leave(const Entry& entry) const;
  [[nodiscard]] EntryPtr longest_idle_of_too_many() const;
  Any share(const EntryPtr& entry, const OpenRequest& request);
  // Lets go of a ready State: its end is outside of the lock.
  void evict(const EntryPtr& entry, Lock& lock);
  void evict_idle(Lock& lock);
  void remove(const EntryPtr& entry);

  Any make_state(const EntryPtr& entry, const std::function<Any()>& make, Lock& lock);
  [[nodiscard]] Any told_when_it_ends(const EntryPtr& entry, Any state);
  void client_left(const EntryPtr& entry);
  [[noreturn]] void refuse(const Entry& other, const OpenRequest& request,
                           const ShownDisk& disk) const;
  [[nodiscard]] std::string doubt(const Entry& other, const OpenRequest& request,
                                  const ShownDisk& disk) const;

  const Options options_;
  const ExportRule& rule_;
  const MayGo may_go_;

  mutable std::mutex mutex_;  // protects everything below
  std::condition_variable changed_;
  std::list<EntryPtr> entries_;
  std::uint64_t times_idle_ = 0;
};

template <typename State>
class DiskRegistry {
 public:
  using Options = DiskRegistryCore::Options;

  // `may_go`: whether an idle State holds nothing that would be lost with it. It must not call the
  // registry, and is quick.
  DiskRegistry(
      Options options, const ExportRule& rule,
      std::function<bool(const State&)> may_go = [](const State&) { return true; })
      : core_(std::make_shared<DiskRegistryCore>(std::move(options), rule,
                                                 [may_go = std::move(may_go)](const void* state) {
                                                   return may_go(*static_cast<const State*>(state));
                                                 })) {}
  DiskRegistry(const DiskRegistry&) = delete;
  DiskRegistry& operator=(const DiskRegistry&) = delete;
  ~DiskRegistry() { core_->clear(); }

  // The State of the disk that `request` has opened, made by `make()` (a std::shared_ptr<State>)
  // where there is none. It is in use until request.stay ends. Throws Error(EBUSY) where a client
  // must be refused, and what make() throws.
  template <typename Make>
  std::shared_ptr<State> find_or_make(const OpenRequest& request, const ShownDisk& disk,
                                      Make&& make) {
    return std::static_pointer_cast<State>(
        core_->find_or_make(request, disk, [&] { return std::static_pointer_cast<void>(make()); }));
  }

  // Every State that there is, with the name under which it was opened first, fit for a message.
  [[nodiscard]] std::vector<std::pair<std::string, std::shared_ptr<State>>> all() const {
    std::vector<std::pair<std::string, std::shared_ptr<State>>> states;
    for (auto& [name, state] : core_->all()) {
      states.emplace_back(name, std::static_pointer_cast<State>(std::move(state)));
    }
    return states;
  }

  // Idle States may have become free to go: those that are too many leave. Called when something
  // was written back; a client's arrival and departure look for themselves.
  void tidy() { core_->tidy(); }

 private:
  std::shared_ptr<DiskRegistryCore> core_;
};

}  // namespace nbdstack
