// Whether the disk below is still the one that the cache is a copy of, and this server the one that
// may write it: asked before each request, so that nobody is told of a success that another
// server's writes have overtaken (common/block/disk_identity.hpp).
//
//   the layer below tells              requests                        background and last write-back
//   nothing, or right none             are served                      go on
//   right held                         are served                      go on
//   right doubtful                     wait for a flush below, which   wait
//                                      is the layer's own way to wait
//                                      until it knows; then one of
//                                      the other rows, or an error
//   right lost                         fail with ESHUTDOWN: writes     stop: what is dirty stays for a
//                                      would be lost, and what is      person to decide
//                                      cached may be old
//   another id, or a term in which     the same                        the same
//   somebody else has changed it
//   a later term of our own            are served, once the directory  go on
//                                      has recorded it
//
// Whether the disk may be written in the background is also a matter of a server that was told not
// to write at all (nbdkit -r): it is known when a client comes that may write, or from the start.
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
    // The directory records that its content is true in this term. May throw.
    std::function<void(std::uint64_t)> record_term = [](std::uint64_t) {};
    // For the log: how much is not below.
    std::function<std::uint64_t()> unwritten_bytes = [] { return std::uint64_t{0}; };
  };

  // `told`: what the layer below told when the cache was made, or null.
  DiskWatch(const std::shared_ptr<const DiskIdentity>& told, bool may_write);

  // Before the first request.
  void set_hooks(Hooks hooks) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    record_term_ = std::move(hooks.record_term);
    unwritten_bytes_ = std::move(hooks.unwritten_bytes);
  }

  // Throws Error(ESHUTDOWN) where a request over this layer cannot be served.
  void admit(Layer& below) {
    const auto now = below.identity();
    if (now != nullptr && !is_as_it_was(*now)) admit_changed(below);
  }
  // Whether what is dirty may be written over this layer now. Logs nothing, and does not wait.
  bool may_write_back(Layer& below);
  // Whether this layer is known to show the same disk.
  [[nodiscard]] bool knows(Layer& below) const {
    const auto now = below.identity();
    return now != nullptr && !id_.empty() && now->id == id_;
  }
  // A client that may write has come.
  void writer_came() { may_write_ = true; }

 private:
  [[nodiscard]] bool is_as_it_was(const DiskIdentity& now) const;
  void admit_changed(Layer& below);
  // Whether it is the disk that it was; a later term of our own is recorded.
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
