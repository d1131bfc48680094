// Checks before each request that the disk below is still the one that the cache is a copy of, and
// that this server may still write it, so that no request succeeds that another server's writes
// have overtaken (common/block/disk_identity.hpp).
//
//   the layer below reports            requests                      background, last write-back
//   nothing, or right none             are served                    continue
//   right held                         are served                    continue
//   right doubtful                     wait for a flush below, the   wait
//                                      layer's own way to wait
//                                      until it knows; then as one
//                                      of the other rows, or fail
//   right lost                         fail with ESHUTDOWN: writes   stop: a person decides on the
//                                      would be lost, and cached     dirty content
//                                      content may be old
//   another id, or a term in which     like right lost               like right lost
//   another server has changed it
//   a later term of our own            are served, once the          continue
//                                      directory has recorded it
//
// A server that must not write at all (nbdkit -r) must not write in the background either: this is
// known when a client comes that may write, or from the start.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/block/disk_identity.hpp"
#include "common/block/layer.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class DiskWatch {
 public:
  struct Hooks {
    // Records in the directory that its content is true in this term. May throw.
    std::function<void(std::uint64_t)> record_term = [](std::uint64_t) {};
    // Returns the size of the content that is not below, for the log.
    std::function<std::uint64_t()> unwritten_bytes = [] { return std::uint64_t{0}; };
  };

  // `told` is the identity from below when the cache was made, or null.
  DiskWatch(const std::shared_ptr<const DiskIdentity>& told, bool may_write);

  // Called before the first request.
  void set_hooks(Hooks hooks) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    record_term_ = std::move(hooks.record_term);
    unwritten_bytes_ = std::move(hooks.unwritten_bytes);
  }

  // Throws Error(ESHUTDOWN) if a request over this layer cannot be served.
  void admit(Layer& below) {
    const auto now = below.identity();
    if (now != nullptr && !is_as_it_was(*now)) admit_changed(below);
  }
  // Returns whether dirty content may be written over this layer now. Does not log or wait.
  bool may_write_back(Layer& below);
  // Returns whether this layer is known to be the same disk.
  [[nodiscard]] bool knows(Layer& below) const {
    const auto now = below.identity();
    return now != nullptr && !id_.empty() && now->id == id_;
  }
  // A client that may write has come.
  void writer_came() { may_write_ = true; }

 private:
  [[nodiscard]] bool is_as_it_was(const DiskIdentity& now) const;
  void admit_changed(Layer& below);
  // Returns whether it is the same disk; a later term of our own is recorded.
  bool is_still_ours(const DiskIdentity& now);
  [[noreturn]] void refuse(const std::string& why);
  void over();

  std::string id_;
  const bool is_counted_;
  std::atomic<std::uint64_t> term_ = 0;
  std::atomic<bool> may_write_;
  std::atomic<bool> refusing_ = false;
  std::function<std::uint64_t()> unwritten_bytes_;
  Mutex mutex_;  // held while term_ changes, too
  std::function<void(std::uint64_t)> record_term_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
