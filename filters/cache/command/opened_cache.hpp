// Opens a cache directory that no server uses, to show or save what only the cache has.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.hpp"
#include "filters/cache/store/durable/cache_directory.hpp"
#include "filters/cache/store/durable/index_survey.hpp"

namespace nbdstack {

class OpenedCache {
 public:
  // Throws if there is no cache, a server uses it, or a given passphrase is not the directory's.
  // Changes nothing in the cache.
  explicit OpenedCache(const std::string& path,
                       const std::optional<std::string>& passphrase = std::nullopt);

  [[nodiscard]] const CacheIdentity& identity() const { return identity_; }
  [[nodiscard]] const IndexSurvey& survey() const { return survey_; }
  // Returns the parts never written back, by offset. One with a wrong checksum is damaged.
  [[nodiscard]] const std::vector<UnwrittenPart>& parts() const { return parts_; }

  // Writes the data of all undamaged parts to their places in `file`, which becomes as long as the
  // disk, and makes that durable. An encrypted directory requires its passphrase: see
  // expect_readable().
  void put_out(const File& file) const;
  // Throws if put_out() cannot read the data.
  void expect_readable() const;
  void discard();

 private:
  std::unique_ptr<CacheDirectory> directory_;
  CacheIdentity identity_;
  SlotIndex index_;
  PageFiles files_;
  IndexSurvey survey_;
  std::vector<UnwrittenPart> parts_;
};

// Returns the output of show.
std::string description_of(const OpenedCache& cache);

}  // namespace nbdstack
