#include "common/block/writer_watch.hpp"

namespace nbdstack {
namespace {

std::uint64_t term_of(const DiskIdentity* identity) {
  return identity != nullptr && identity->term ? identity->term->term : 0;
}

bool is_counted(const DiskIdentity* identity) {
  return identity != nullptr && identity->term.has_value();
}

}  // namespace

WriterWatch::WriterWatch(const std::shared_ptr<const DiskIdentity>& at_first,
                         std::function<void()> forget)
    : is_unknown_(at_first == nullptr),
      id_(is_unknown_ ? "" : at_first->id),
      forget_(std::move(forget)),
      term_(term_of(at_first.get())),
      is_counted_(is_counted(at_first.get())) {}

bool WriterWatch::judge(const std::shared_ptr<const DiskIdentity>& now) {
  const bool is_ours = now != nullptr && now->id == id_ && now->right != WriteRight::doubtful &&
                       now->right != WriteRight::lost;
  const bool as_before = is_ours && trusted_ && term_of(now.get()) == term_;
  if (!as_before) judge_anew(now.get(), is_ours);
  return is_ours;
}

void WriterWatch::judge_anew(const DiskIdentity* now, bool is_ours) {
  const std::lock_guard lock(mutex_);
  bool still_true = false;
  if (is_ours && trusted_ && is_counted(now) == is_counted_) {
    still_true = !is_counted_ || now->term->still_true(term_);
  }
  if (!still_true) forget_();
  trusted_ = is_ours;
  if (!is_ours) return;
  term_ = term_of(now);
  is_counted_ = is_counted(now);
}

}  // namespace nbdstack
