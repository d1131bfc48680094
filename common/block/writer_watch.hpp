// Whether what is remembered of a disk may still be used: only while nobody else can have changed
// the disk since.
//
//   the layer below tells             what is remembered is
//   -------------------------------   -------------------------------------------------------------
//   no identity from the beginning    used: that nobody else writes is assumed, as for any plugin
//   right none or held                used
//   .. in another term                forgotten, unless it tells that nobody else wrote in between
//   right doubtful or lost            forgotten and not used, nor is anything new remembered. Used
//                                     again, from nothing, when the right is none or held again
//   another id, or none any more      as doubtful
//
// What is worth much and is not used for answers (digests) is set aside instead (InDoubt): it is
// not used without the right, and forgotten only if others may have written when the right is back.
//
// The question costs no request, but a walk down the layers, so it is asked once or twice in each
// request, and not at all where the layer below has told no identity from the beginning.
//
// Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "common/block/disk_identity.hpp"
#include "common/block/layer.hpp"

namespace nbdstack {

class WriterWatch {
 public:
  enum class InDoubt : std::uint8_t { forget, set_aside };
  // Drops what is remembered, and what is about to be by requests under way; must not call back.
  // `now`: what the layer below tells, or null.
  using Forget = std::function<void(const DiskIdentity* now)>;

  // `at_first`: what the layer below told when remembering began, or null.
  WriterWatch(const std::shared_ptr<const DiskIdentity>& at_first, Forget forget,
              InDoubt in_doubt = InDoubt::forget);
  WriterWatch(const WriterWatch&) = delete;
  WriterWatch& operator=(const WriterWatch&) = delete;

  // Whether what is remembered may be used, and added to, at this moment. `below`: any client's.
  [[nodiscard]] bool trusts(Layer& below) { return is_unknown_ || judge(below.identity()); }

 private:
  bool judge(const std::shared_ptr<const DiskIdentity>& now);
  void judge_anew(const DiskIdentity* now, bool is_ours);

  const bool is_unknown_;
  const std::string id_;
  const Forget forget_;
  const InDoubt in_doubt_;

  // Read without the lock; 0 is no term where is_counted_ is false.
  std::atomic<bool> trusted_ = true;
  std::atomic<std::uint64_t> term_;

  std::mutex mutex_;  // protects what follows, and changes of the above
  bool is_counted_;   // whether the disk counts its writers' terms
};

}  // namespace nbdstack
