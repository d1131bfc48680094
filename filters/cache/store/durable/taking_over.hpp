// A cache directory is taken over for a disk: what it holds is used, dropped, or the reason why
// nobody may use it before a person has decided.
//
//   what it holds is (directory_trust.hpp)   clean blocks   dirty blocks
//   true                                     used           used
//   true as far as it is dirty               dropped        used
//   not true any more                        dropped        refuse: the start is refused
//                                                           force: written over the disk
//                                                           discard: dropped
//   another disk's                           the start is refused
//   of unknown truth                         compared with the disk (content_check.hpp): true, or
//                                            not true any more
//
// The order in which this is safe, wherever a crash comes: content that is not to be used is out of
// the index, durably, before the directory says that it is true in this term; and the directory
// says so before the first request, after which the disk changes in this term and a directory of
// an older one would be out of date. What was read by somebody who is not the only writer is worth
// nothing later, and the directory says that before it is stored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/block/disk_identity.hpp"
#include "common/block/layer.hpp"
#include "filters/cache/store/durable/cache_directory.hpp"
#include "filters/cache/store/durable/directory_trust.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "filters/cache/store/durable/index_survey.hpp"

namespace nbdstack {

// What becomes of dirty blocks when the disk has changed since they were written.
enum class StaleDirty : std::uint8_t { refuse, force, discard };

class TakingOver {
 public:
  // `wanted`: what the user and the layer below have to say of the disk, without its id and term.
  // `told`: what the layer below tells, or null. Throws where the directory is not for that.
  TakingOver(std::shared_ptr<CacheDirectory> directory, const CacheIdentity& wanted,
             std::shared_ptr<const DiskIdentity> told, StaleDirty policy);

  // `store`, which lies in the directory: its recover() decides now, and throws Error(ESTALE) where
  // a person has to. `below` is asked in that call only, where the content has to be compared.
  std::unique_ptr<DurableStore> prepare(std::unique_ptr<DurableStore> store, Layer& below,
                                        std::uint64_t seed);
  // After recover(), and before the first request.
  void record();

  // What is recorded.
  [[nodiscard]] const CacheIdentity& identity() const { return identity_; }

 private:
  DurableStore::Keep inspect(const SlotIndex& index, const PageFiles& files, Layer& below,
                             std::uint64_t seed);
  Trust compare(const SlotIndex& index, const PageFiles& files, Layer& below, std::uint64_t seed);
  DurableStore::Keep decide(const std::string& because, const IndexSurvey& survey) const;
  [[nodiscard]] std::string ways_out() const;

  const std::shared_ptr<CacheDirectory> directory_;
  const std::shared_ptr<const DiskIdentity> told_;
  const StaleDirty policy_;
  const std::optional<CacheIdentity> found_;
  CacheIdentity identity_;
};

}  // namespace nbdstack
