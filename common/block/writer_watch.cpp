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

WriterWatch::WriterWatch(const std::shared_ptr<const DiskIdentity>& at_first, Forget forget,
                         InDoubt in_doubt)
    : is_unknown_(at_first == nullptr),
      id_(is_unknown_ ? "" : at_first->id),
      forget_(std::move(forget)),
      in_doubt_(in_doubt),
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
  const MutexLock lock(mutex_);
  const bool sets_aside = in_doubt_ == InDoubt::set_aside;
  bool still_true = sets_aside && !is_ours;
  if (is_ours && is_counted(now) == is_counted_) {
    // Where terms are not counted, others may have written while there was no right.
    const bool in_between = is_counted_ ? !now->term->still_true(term_) : !trusted_;
    still_true = (trusted_ || sets_aside) && !in_between;
  }
  if (!still_true) forget_(now);
  trusted_ = is_ours;
  if (!is_ours) return;
  term_ = term_of(now);
  is_counted_ = is_counted(now);
}

}  // namespace nbdstack
