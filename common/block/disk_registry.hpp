// The States that a filter keeps, one for each disk that it is over, whatever the names under which
// clients open it.
//
// The layer below reports which disk a client has opened (disk_identity.hpp). If it does not, two
// names may or may not be one disk, and so may one name with and without TLS. Disks that may be one
// are neither shared nor kept apart: the second client is refused, unless the administrator has set
// which it is (ExportRule).
//
// A State that the registry holds, compared with a client that opens a disk:
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
//   unclear        waits a moment, then     waits a moment,       leaves; the search goes on
//                  is refused               then is refused
//   different      the search goes on       the search goes on    the search goes on
//
// "Others wrote since" is decided by the terms of the identities; the filter itself handles a State
// that is in use or holds unwritten data then. "Waits a moment": nbdkit may not have noticed yet
// that a client has just cut its connection.
//
// The life of a State:
//
//   being made   by the first client of its disk; clients of the same disk wait for that. If it
//                fails, the State is gone, and the next waiting client tries again
//   in use       by at least one client
//   idle         the last client has left. It is kept, so that a returning client finds it warm. If
//                there are more than `most_idle`, the longest idle ones leave, of those that may go
//                (that hold nothing unwritten)
//   leaving      the registry has released it; its last layers are about to be closed. Clients that
//                need its place wait for its end, because it may own a file that has one owner
//
// May be used by any thread. The registry's mutex is held while may_go is called, but never while a
// State is made or destroyed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/block/disk_identity.hpp"
#include "common/block/layer.hpp"
#include "common/block/open_request.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// The meaning of export names if the layer below reports no identity.
enum class ExportRule : std::uint8_t {
  found_out,  // not set: a second name is refused while the first one's State is needed
  one,        // all names show one disk
  each        // each name is a disk of its own, and so is each with TLS and without
};

// The disk that a client's layer below shows when it is opened.
struct ShownDisk {
  std::uint64_t size_bytes = 0;
  std::shared_ptr<const DiskIdentity> identity;  // null if it reports none

  static ShownDisk of(Layer& below) { return {below.traits().size_bytes, identity_of(below)}; }

  // Returns whether a State that was made for `other` is about this disk.
  [[nodiscard]] bool is(const ShownDisk& other) const;
};

// Returns whether the default export, opened for no client, can be the disk that `request` has
// opened as `disk`. If the layer below reports identities, the caller must compare these.
bool default_export_may_be(const OpenRequest& request, const ShownDisk& disk, ExportRule rule);

// The part that does not depend on the kind of State.
class DiskRegistryCore : public std::enable_shared_from_this<DiskRegistryCore> {
 public:
  struct Options {
    std::string filter;  // its name, as the parameter FILTER-exports begins and messages do
    std::size_t most_idle = 4;
    // How long a client that would be refused waits for others to leave.
    std::chrono::milliseconds patience{2000};
    // If set, an unclear disk is refused. Unset if a State is only a hint, and too many or too few
    // of them do no harm: then a disk that is unclear or of another size counts as different.
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
    OpenRequest opened_by;  // its first client's, without the stay
    ShownDisk disk;         // as its last client found it
    Phase phase = Phase::making;
    std::size_t users = 0;
    std::uint64_t idle_since = 0;  // order in which entries became idle
    Any state;                     // while it is ready
    std::weak_ptr<void> alive;     // from `ready` until its end
  };
  using EntryPtr = std::shared_ptr<Entry>;

  // The next step for a client.
  struct Verdict {
    enum class Kind : std::uint8_t { make, share, wait, evict, refuse } kind = Kind::make;
    EntryPtr entry;  // the one that is shared, waited for, evicted, or in the way
  };
  enum class Relation : std::uint8_t { same, resized, unclear, different };

  [[nodiscard]] Relation relation(const Entry& entry, const OpenRequest& request,
                                  const ShownDisk& disk) const;

  // The entries themselves are used with mutex_ held as well.
  [[nodiscard]] Verdict judge(const OpenRequest& request, const ShownDisk& disk) const
      REQUIRES(mutex_);
  [[nodiscard]] bool may_leave(const Entry& entry) const REQUIRES(mutex_);
  [[nodiscard]] EntryPtr longest_idle_of_too_many() const REQUIRES(mutex_);
  Any share(const EntryPtr& entry, const OpenRequest& request) REQUIRES(mutex_);
  // Releases a ready State, without the mutex.
  void evict(const EntryPtr& entry) REQUIRES(mutex_);
  void evict_idle() REQUIRES(mutex_);
  void remove(const EntryPtr& entry) REQUIRES(mutex_);

  // Calls make() without the mutex.
  Any make_state(const EntryPtr& entry, const std::function<Any()>& make) REQUIRES(mutex_);
  [[nodiscard]] Any told_when_it_ends(const EntryPtr& entry, Any state);
  void client_left(const EntryPtr& entry) EXCLUDES(mutex_);
  [[noreturn]] void refuse(const Entry& other, const OpenRequest& request,
                           const ShownDisk& disk) const;
  [[nodiscard]] std::string doubt(const Entry& other, const OpenRequest& request,
                                  const ShownDisk& disk) const;

  const Options options_;
  const ExportRule& rule_;
  const MayGo may_go_;

  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::list<EntryPtr> entries_ GUARDED_BY(mutex_);
  std::uint64_t times_idle_ GUARDED_BY(mutex_) = 0;
};

template <typename State>
class DiskRegistry {
 public:
  using Options = DiskRegistryCore::Options;

  // `may_go` returns whether an idle State holds nothing that would be lost with it. It must not
  // call the registry, and is quick.
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

  // Returns the State of the disk that `request` has opened; `make()` makes it (a
  // std::shared_ptr<State>) if there is none. It is in use until request.stay ends. Throws
  // Error(EBUSY) if the client must be refused, and the exceptions of make().
  template <typename Make>
  std::shared_ptr<State> find_or_make(const OpenRequest& request, const ShownDisk& disk,
                                      Make&& make) {
    return std::static_pointer_cast<State>(
        core_->find_or_make(request, disk, [&] { return std::static_pointer_cast<void>(make()); }));
  }

  // Returns all States, each with the name under which it was opened first, fit for a message.
  [[nodiscard]] std::vector<std::pair<std::string, std::shared_ptr<State>>> all() const {
    std::vector<std::pair<std::string, std::shared_ptr<State>>> states;
    for (auto& [name, state] : core_->all()) {
      states.emplace_back(name, std::static_pointer_cast<State>(std::move(state)));
    }
    return states;
  }

  // Lets idle States leave if there are too many of those that may go. To be called after data was
  // written back; a client's arrival and departure do so by themselves.
  void tidy() { core_->tidy(); }

 private:
  std::shared_ptr<DiskRegistryCore> core_;
};

}  // namespace nbdstack
