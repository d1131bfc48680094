#include "filters/cache/store/durable/taking_over.hpp"

#include <fmt/format.h>

#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/store/durable/content_check.hpp"

namespace nbdstack {
namespace {

CacheIdentity identity_for(CacheIdentity identity, const std::optional<CacheIdentity>& found,
                           const DiskIdentity* told) {
  if (told != nullptr) {
    identity.disk_id = told->id;
    if (told->term) identity.term = told->term->term;
    identity.alone = told->right == WriteRight::held || told->right == WriteRight::doubtful;
  } else if (found) {
    // If writers are not counted, the known term becomes worthless.
    identity.disk_id = found->disk_id;
  }
  return identity;
}

}  // namespace

TakingOver::TakingOver(std::shared_ptr<CacheDirectory> directory, const CacheIdentity& wanted,
                       std::shared_ptr<const DiskIdentity> told, StaleDirty policy)
    : directory_(std::move(directory)),
      told_(std::move(told)),
      policy_(policy),
      found_(directory_->identity()),
      identity_(identity_for(wanted, found_, told_.get())) {
  directory_->expect(identity_);
}

std::unique_ptr<DurableStore> TakingOver::prepare(std::unique_ptr<DurableStore> store, Layer& below,
                                                  std::uint64_t seed) {
  if (found_) {
    store->set_inspect([this, &below, seed](const SlotIndex& index, const PageFiles& files) {
      return inspect(index, files, below, seed);
    });
  }
  if (!found_) directory_->record_with_content(identity_);
  return store;
}

DurableStore::Keep TakingOver::inspect(const SlotIndex& index, const PageFiles& files, Layer& below,
                                       std::uint64_t seed) {
  using Keep = DurableStore::Keep;
  Trust trust = trust_in(*found_, told_.get());
  if (trust.level == Trust::Level::compare) trust = compare(index, files, below, seed);
  if (trust.level == Trust::Level::all) return Keep::all;
  const IndexSurvey survey = survey_of(index);
  switch (trust.level) {
    case Trust::Level::another_disk:
      throw Error(ESTALE, fmt::format("cache-dir {}: {}. {} bytes in it were never written back. "
                                      "Name another directory; {}",
                                      directory_->path(), trust.because, survey.unwritten_bytes,
                                      ways_out()));
    case Trust::Level::all:
    case Trust::Level::dirty:
      break;
    case Trust::Level::nothing:
    case Trust::Level::compare:  // has been replaced by another level
      if (survey.unwritten_bytes != 0) return decide(trust.because, survey);
  }
  if (survey.clean_bytes != 0) {
    log::error("cache: {} bytes in {} are read again from below: {}", survey.clean_bytes,
               directory_->path(), trust.because);
  }
  return trust.level == Trust::Level::dirty ? Keep::dirty : Keep::nothing;
}

Trust TakingOver::compare(const SlotIndex& index, const PageFiles& files, Layer& below,
                          std::uint64_t seed) {
  const ContentCheck check = compare_with_disk(index, files, below, seed);
  if (check.differs) {
    return {Trust::Level::nothing,
            fmt::format("the block at offset {} is not what the disk holds, so this is another "
                        "disk, or somebody has changed it without this cache",
                        *check.differs)};
  }
  const bool either_told = told_ != nullptr || !found_->disk_id.empty();
  if (check.compared == 0 && either_told) {
    return {Trust::Level::nothing, "nothing in it shows that it is the cache of this disk"};
  }
  const IndexSurvey survey = survey_of(index);
  if (!either_told && survey.unwritten_bytes != 0) {
    log::error(
        "cache: {} bytes that an earlier server left in {} are for a disk that does not tell which "
        "one it is; {} blocks were compared with it, and are the same",
        survey.unwritten_bytes, directory_->path(), check.compared);
  } else {
    log::debug("cache: {} blocks in {} were compared with the disk, and are the same",
               check.compared, directory_->path());
  }
  return {Trust::Level::all, ""};
}

DurableStore::Keep TakingOver::decide(const std::string& because, const IndexSurvey& survey) const {
  switch (policy_) {
    case StaleDirty::force:
      log::error("cache: {} bytes in {} are written over the disk (cache-dirty=force), although {}",
                 survey.unwritten_bytes, directory_->path(), because);
      return DurableStore::Keep::dirty;
    case StaleDirty::discard:
      log::error(
          "cache: {} bytes in {} that were never written back are discarded "
          "(cache-dirty=discard): {}",
          survey.unwritten_bytes, directory_->path(), because);
      return DurableStore::Keep::nothing;
    case StaleDirty::refuse:
      break;
  }
  throw Error(ESTALE, fmt::format("cache-dir {} holds {} bytes that were never written back, and "
                                  "{}. They are not written over what is newer: {}; "
                                  "cache-dirty=force writes them over the disk",
                                  directory_->path(), survey.unwritten_bytes, because, ways_out()));
}

std::string TakingOver::ways_out() const {
  return fmt::format(
      "\"nbdstack-cache show {0}\" lists them, \"nbdstack-cache export {0} FILE\" puts them into a "
      "file, \"nbdstack-cache discard --yes {0}\" makes it an empty cache",
      directory_->path());
}

// A server that is the only writer changes the disk from now on. Any other one may never store
// anything, and the content of the directory stays true until it does.
void TakingOver::record() {
  if (found_ && identity_.alone) {
    directory_->record(identity_);
  } else {
    directory_->record_with_content(identity_);
  }
}

}  // namespace nbdstack
