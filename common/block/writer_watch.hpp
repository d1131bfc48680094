// Decides whether memory of a disk may still be used: only while no other writer can have changed
// the disk since.
//
//   the layer below reports           the memory is
//   -------------------------------   -------------------------------------------------------------
//   no identity from the beginning    used: as for any plugin, no other writer is assumed
//   right none or held                used
//   .. in another term                forgotten, unless it reports that no other writer wrote since
//   right doubtful or lost            forgotten and not used, nor is anything new remembered. Used
//                                     again, from nothing, when the right is none or held again
//   another id, or none any more      as doubtful
//
// Expensive memory that answers no requests (digests) is set aside instead (InDoubt): it is not
// used without the right, and forgotten only if others may have written meanwhile.
//
// The check needs no request, but a walk down the layers, so it is made once or twice in each
// request, and not at all if the layer below reported no identity from the beginning.
//
// May be used by any thread.
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

class WriterWatch {
 public:
  enum class InDoubt : std::uint8_t { forget, set_aside };
  // Discards the memory, and additions by requests under way; must not call back. `now` is what the
  // layer below reports, or null.
  using Forget = std::function<void(const DiskIdentity* now)>;

  // `at_first` is what the layer below reported when remembering began, or null.
  WriterWatch(const std::shared_ptr<const DiskIdentity>& at_first, Forget forget,
              InDoubt in_doubt = InDoubt::forget);
  WriterWatch(const WriterWatch&) = delete;
  WriterWatch& operator=(const WriterWatch&) = delete;

  // Returns whether the memory may be used, and added to, now. `below` is any client's layer.
  [[nodiscard]] bool trusts(Layer& below) { return is_unknown_ || judge(below.identity()); }

 private:
  bool judge(const std::shared_ptr<const DiskIdentity>& now);
  void judge_anew(const DiskIdentity* now, bool is_ours);

  const bool is_unknown_;
  const std::string id_;
  const Forget forget_;
  const InDoubt in_doubt_;

  // Written with mutex_ held, read without; 0 is no term where is_counted_ is false.
  std::atomic<bool> trusted_ = true;
  std::atomic<std::uint64_t> term_;

  Mutex mutex_;
  bool is_counted_ GUARDED_BY(mutex_);  // whether the disk counts its writers' terms
};

}  // namespace nbdstack
