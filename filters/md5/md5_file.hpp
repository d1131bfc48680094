// The md5-file: digests of everything that was written, for as long as the file is kept.
//
// What it promises, whatever happens to the server or to the machine:
//  - a block is never accused that holds what the layer below had to keep: a record is either right
//    or marked as doubtful (open_regions.hpp);
//  - a block whose last change was followed by a flush that succeeded is held against its digest
//    from then on, also after a crash.
// Blocks changed after the last flush before a crash, and up to 255 neighbours of each, are
// doubtful: right where they match, unknown where they do not. To confirm a doubtful block counts
// as changing it.
//
// What a change does to a record:
//
//   record               before the call below     after it succeeded      when it failed
//   unknown              -                         written, or unknown     unknown
//   written, doubtful    unknown                   written, or unknown     unknown
//
// and where the server ends in between, recovery makes "doubtful" of every "written" record in a
// region that is to be doubted.
//
// When others have written to the disk, all records become doubtful at once: doubt_all() begins a
// new generation, and records of an earlier one are doubtful.
//
// Nothing is put into a new file, and no other identity into an old one, before the first change of
// a block is to be recorded, or store_identity() asks for it.
//
// Layout: md5_file_layout.hpp; identity: md5_file_identity.hpp.
//
// Who calls: load() anybody. A change belongs to who owns the range of its blocks (RangeLock).
// Errors are the disk's or name the file; each says what to do.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "common/sync/mutex.hpp"
#include "filters/md5/md5_file_identity.hpp"
#include "filters/md5/md5_file_record.hpp"
#include "filters/md5/open_regions.hpp"

namespace nbdstack {

class Md5File {
 public:
  using Identity = Md5FileIdentity;
  using Records = std::vector<std::optional<Md5FileRecord>>;  // nothing: unknown

  // Blocks whose ranges the caller owns: their records say nothing from here on, until record()
  // has said what the blocks hold.
  class Change {
   public:
    // After the layer below has done it: one for each block, nothing where it is unknown. Where the
    // disk is full or fails the blocks stay unknown, and the log says so.
    void record(std::span<const std::optional<Content>> contents);
    // Nothing has happened below: what was known still is.
    void undo();

   private:
    friend class Md5File;
    Change(Md5File& file, BlockNumber first, Records before, OpenRegions::Hold hold)
        : file_(&file),
          first_(first),
          before_(std::move(before)),
          generation_(file.generation_),
          hold_(std::move(hold)) {}

    Md5File* file_;
    BlockNumber first_;
    Records before_;
    std::uint32_t generation_;  // when it began: it may end in another one
    OpenRegions::Hold hold_;
  };
  // What is longer is forgotten.
  static constexpr std::uint64_t kChange_blocks_max = 16384;  // blocks

  // Puts an identity into the file, durably.
  using Store = std::function<void(const Identity&)>;

  [[nodiscard]] static std::optional<Identity> identity_of(const StorageFile& file) {
    return read_identity(file);
  }

  // A file that has this identity: recovers from a crash. Nobody else uses the file. `store` is
  // called when the identity is to be another one; empty: it is put there as it is.
  Md5File(std::shared_ptr<StorageFile> file, const Identity& identity, Store store = {});
  // A file that has none yet, and gets this one by `store` with the first change.
  static std::unique_ptr<Md5File> make_new(std::shared_ptr<StorageFile> file,
                                           const Identity& identity, Store store);
  // Makes an empty md5-file of a file of which identity_of() says nothing.
  static Identity create(StorageFile& file, const std::string& export_name,
                         std::uint32_t block_size);
  // For reading only, also while a server uses the file.
  static Records read_records(const StorageFile& file, const Identity& identity, BlockNumber first,
                              std::uint64_t count);
  // Likewise: OpenRegions::doubted(). Writes nothing.
  static std::vector<std::uint64_t> doubted_regions(
      StorageFile& file, const Identity& identity,
      std::optional<std::uint64_t> only = std::nullopt);

  [[nodiscard]] const std::string& path() const { return file_->path(); }
  [[nodiscard]] Identity identity() const;

  // The identity is this from now on, of the same file; in the file itself with the first change.
  void change_identity(const Identity& identity);
  // All records are doubtful from now on; those of changes from now on are true in this term.
  void doubt_all(const std::optional<std::uint64_t>& term);
  // Puts the identity into the file, if it is not there yet. Errors are the disk's, or those of
  // Store.
  void store_identity();
  [[nodiscard]] bool is_stored() const { return is_stored_; }

  [[nodiscard]] Records load(BlockNumber first, std::uint64_t count) const;

  // `before`: what load() says of the blocks that are to be changed, at most kChange_blocks_max.
  // Nothing: too much has been changed since the last flush. Settle, then try again.
  [[nodiscard]] std::optional<Change> begin(BlockNumber first, const Records& before);

  // Blocks whose ranges the caller owns, however many, are unknown from now on, durably. False: as
  // begin().
  [[nodiscard]] bool forget(BlockNumber first, std::uint64_t count);

  // A doubtful block, whose range the caller owns, has been read: it is written if that was right,
  // else unknown. At no time is it unknown and right. False: as begin().
  [[nodiscard]] bool resolve(BlockNumber block, bool right);

  // flush below goes between the two.
  [[nodiscard]] OpenRegions::Quiet quiet() const { return regions_.quiet(); }
  void settle(const OpenRegions::Quiet& quiet) { regions_.settle(quiet); }
  void wait_for_a_change_to_end() { regions_.wait_for_release(); }

 private:
  Md5File(std::shared_ptr<StorageFile> file, const Identity& identity, Store store, bool exists);
  void recover();
  void doubt(std::uint64_t region);
  void store(BlockNumber first, const Records& records, std::uint32_t generation);
  void store_or_say(BlockNumber first, const Records& records, std::uint32_t generation);
  void make_unknown(BlockNumber first, const Records& before);
  void punch(BlockNumber first, std::uint64_t count);

  const std::shared_ptr<StorageFile> file_;
  const std::uint64_t seed_;
  const Store store_;
  std::atomic<std::uint32_t> generation_;  // as in identity_
  std::atomic<bool> exists_ = true;        // there is an identity in the file, if not this one
  std::atomic<bool> is_stored_ = true;     // and it is this one
  Mutex storing_;                          // one at a time; held while the file is written
  mutable Mutex mutex_;
  Identity identity_ GUARDED_BY(mutex_);
  OpenRegions regions_;
  std::atomic<bool> fails_{false};  // to record does, now and then, and it was logged
  std::atomic<std::chrono::steady_clock::time_point> failed_at_{};  // the last time
  mutable std::atomic<bool> damaged_{false};  // a damaged record was found, and logged
};

}  // namespace nbdstack
