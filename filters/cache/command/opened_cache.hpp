// A cache directory that no server uses, opened to look at what only it has.
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
  // Throws where there is no cache, or a server uses it, or the passphrase, if there is one, is not
  // that of the directory. Nothing of the cache is changed.
  explicit OpenedCache(const std::string& path,
                       const std::optional<std::string>& passphrase = std::nullopt);

  [[nodiscard]] const CacheIdentity& identity() const { return identity_; }
  [[nodiscard]] const IndexSurvey& survey() const { return survey_; }
  // What was never written back, by offset. What does not have its checksum any more is damaged.
  [[nodiscard]] const std::vector<UnwrittenPart>& parts() const { return parts_; }

  // Puts the data of all parts that are not damaged to their places in `file`, which is as long as
  // the disk then, and makes that durable. Of an encrypted directory only with its passphrase: see
  // expect_readable().
  void put_out(const File& file) const;
  // Throws where put_out() cannot read what it is to put out.
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

// What show prints.
std::string description_of(const OpenedCache& cache);

}  // namespace nbdstack
