#include "filters/cache/serving/disk_watch.hpp"

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

DiskWatch::DiskWatch(const std::shared_ptr<const DiskIdentity>& told, bool may_write)
    : id_(told == nullptr ? "" : told->id),
      is_counted_(told != nullptr && told->term.has_value() && told->right != WriteRight::none),
      term_(is_counted_ ? told->term->term : 0),
      may_write_(may_write) {
  set_hooks({});
}

// Takes no lock, because it runs for every request.
bool DiskWatch::is_as_it_was(const DiskIdentity& now) const {
  if (refusing_ || now.right == WriteRight::doubtful || now.right == WriteRight::lost) return false;
  if (!id_.empty() && now.id != id_) return false;
  return !is_counted_ || (now.term && now.term->term == term_);
}

bool DiskWatch::is_still_ours(const DiskIdentity& now) {
  if (!id_.empty() && now.id != id_) return false;
  if (!is_counted_) return true;
  if (!now.term) return false;
  const MutexLock lock(mutex_);
  if (now.term->term == term_) return true;
  if (!now.term->still_true(term_)) return false;
  record_term_(now.term->term);
  term_ = now.term->term;
  return true;
}

void DiskWatch::admit_changed(Layer& below) {
  auto now = below.identity();
  if (now != nullptr && now->right == WriteRight::doubtful && below.traits().can_flush) {
    below.flush();
    now = below.identity();
  }
  if (now == nullptr) return;
  if (now->right == WriteRight::lost) refuse("another server has taken over the disk");
  if (now->right == WriteRight::doubtful) {
    refuse("it is not certain that no other server has taken over the disk");
  }
  if (!is_still_ours(*now))
    refuse("the disk below is another one, or another server has changed it");
  over();
}

bool DiskWatch::may_write_back(Layer& below) {
  if (!may_write_ || !below.traits().can_write) return false;
  const auto now = below.identity();
  if (now == nullptr) return true;
  if (now->right == WriteRight::lost || now->right == WriteRight::doubtful) return false;
  return is_still_ours(*now);
}

void DiskWatch::refuse(const std::string& why) {
  const std::string message = fmt::format(
      "cache: {}: requests fail from now on, and the {} bytes that are not written back stay in "
      "the cache",
      why, unwritten_bytes_());
  if (refusing_.exchange(true)) throw Error::reported(ESHUTDOWN);
  throw Error(ESHUTDOWN, message);
}

void DiskWatch::over() {
  if (refusing_.exchange(false)) log::error("cache: the disk may be written: requests are served");
}

}  // namespace nbdstack
