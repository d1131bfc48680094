// Takes a cache directory over for a disk: its content is used, dropped, or the reason why the
// start is refused until a person has decided.
//
//   its content is (directory_trust.hpp)     clean blocks   dirty blocks
//   true                                     used           used
//   true as far as it is dirty               dropped        used
//   not true any more                        dropped        refuse: the start is refused
//                                                           force: written over the disk
//                                                           discard: dropped
//   another disk's                           the start is refused
//   of unknown truth                         compared with the disk (content_check.hpp): true, or
//                                            not true any more
//
// This order is safe whenever a crash comes. First, content that is not to be used is removed from
// the index, durably. Then the directory records that it is true in this term. Then comes the first
// request, after which the disk changes in this term and a directory of an older one would be out
// of date. Blocks that are read while others may write are worthless in a later life, so the
// directory records that before any of them is stored.
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

// The treatment of dirty blocks if the disk has changed since they were written.
enum class StaleDirty : std::uint8_t { refuse, force, discard };

class TakingOver {
 public:
  // `wanted` is the disk as the user and the layer below describe it, without its id and term;
  // `told` is its identity according to the layer below, or null. Throws if the directory is that
  // of another disk.
  TakingOver(std::shared_ptr<CacheDirectory> directory, const CacheIdentity& wanted,
             std::shared_ptr<const DiskIdentity> told, StaleDirty policy);

  // Makes recover() of `store`, which lies in the directory, decide; it throws Error(ESTALE) if a
  // person has to. `below` is read in that call only, if the content has to be compared.
  std::unique_ptr<DurableStore> prepare(std::unique_ptr<DurableStore> store, Layer& below,
                                        std::uint64_t seed);
  // Called after recover(), and before the first request.
  void record();

  // Returns the identity that record() records.
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
