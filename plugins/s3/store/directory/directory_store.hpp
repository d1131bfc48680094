// Stores objects as files of a local directory: endpoint-url=file:///DIR, with a sub-directory of
// DIR for each bucket.
//
//   DIR/BUCKET/KEY    the object KEY, in the format of object_file.hpp
//
// A '/' in a key makes sub-directories.
//
// A put is durable when it returns: the object is written to a temporary file in its directory,
// synced, renamed (or, create-only, linked) into place, and the directory is synced. So at every
// moment, also after a crash, a key has its whole old object or its whole new one. A crash may
// leave the temporary file behind: it is no object, and a later start removes it.
//
// Puts and removals in one directory that are conditional on an ETag check and rename one at a
// time, also those of several processes (turn.hpp). The owner of the volume (below) does not wait
// for a turn: it is the only one. Either all changes of a key have conditions, or none has.
//
// A store that is made with the right to write a volume changes objects only while it has that
// right. A process that was stopped cannot write after it has lost it (staging_directory.hpp).
//
// Only bodies are kept: a put with a content encoding or metadata is Error(ENOTSUP).
//
// A key whose parts would leave the bucket ("..", ".", empty), or name a temporary file, is refused
// with EINVAL. Unlike in S3, a key cannot be an object and the directory of others at the same
// time.
#pragma once

#include <chrono>
#include <ctime>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plugins/s3/store/directory/object_file.hpp"
#include "plugins/s3/store/directory/staging_directory.hpp"
#include "plugins/s3/store/learned_pieces.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/unverified_notice.hpp"

namespace nbdstack {

class DirectoryStore final : public ObjectStore {
 public:
  enum class MissingBucket : std::uint8_t {
    create,  // a volume may be created: the bucket's directory is made, within an existing DIR
    fail,
  };

  // Called before each change of the volume `key`: if it returns false, that is Error(ESHUTDOWN).
  struct WriteRight {
    std::function<bool()> may_write;
    std::string key;
  };

  // `directory` is an absolute path. Throws Error(ENOENT) if it or the bucket does not exist,
  // Error(EINVAL) if `bucket` is not the name of a single directory.
  DirectoryStore(const std::string& directory, const std::string& bucket, MissingBucket missing,
                 std::optional<WriteRight> right = std::nullopt);

  // Removes temporary files that have not been written to for `age`, by the file system's clock:
  // their writers are long gone.
  void remove_leftovers(std::chrono::seconds age);

  bool get(const std::string& key, std::span<std::byte> body) override;
  bool get_range(const std::string& key, std::span<std::byte> body,
                 const ObjectPart& part) override;
  std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) override;
  std::optional<ObjectInfo> look_up(const std::string& key) override;
  PutOutcome put(const std::string& key, std::span<const std::byte> body,
                 const PutOptions& options) override;
  std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                           Doubt& doubt) override;
  void list(const std::string& prefix, const std::string& start_after,
            const std::function<bool(const ListedObject&)>& visit) override;
  std::vector<std::string> directories_below(const std::string& prefix) override;
  [[nodiscard]] bool lists_are_proof() const override { return true; }

 private:
  [[nodiscard]] std::string path_of(const std::string& key) const;  // refuses bad keys
  [[nodiscard]] std::optional<ObjectFile> open(const std::string& key) const;
  void check_bucket_exists() const;
  [[nodiscard]] std::optional<std::time_t> file_system_time() const;

  // Calls `change` in turn, again if the turn is taken away from it. Each change of an object is a
  // rename from `place` or to it.
  void in_turn(const std::string& directory,
               const std::function<void(const std::string& place)>& change) const;
  void check_right() const;
  void remove_file(const std::string& path, const std::string& place,
                   std::set<std::string>& changed) const;

  std::string root_;  // the bucket's directory
  const std::optional<WriteRight> right_;
  std::optional<StagingDirectory> staging_;  // with right_
  LearnedPieces learned_;
  UnverifiedNotice unverified_;
};

}  // namespace nbdstack
