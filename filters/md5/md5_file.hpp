// The md5-file: digests of everything that was written, for as long as the file is kept.
//
// Whatever happens to the server or to the machine:
//  - a block that holds what the layer below had to keep is never declared damaged: a record is
//    either right or marked as doubtful (open_regions.hpp);
//  - a block whose last change was followed by a successful flush is compared with its digest from
//    then on, also after a crash.
// Blocks changed after the last flush before a crash, and up to 255 neighbours of each, are
// doubtful: right if they match, otherwise unknown. Confirming a doubtful block is a change of it.
//
// The effect of a change on a record:
//
//   record               before the call below     after it succeeded      when it failed
//   unknown              -                         written, or unknown     unknown
//   written, doubtful    unknown                   written, or unknown     unknown
//
// If the server ends in between, recovery makes every "written" record of a doubted region
// "doubtful".
//
// When other writers have changed the disk, all records become doubtful at once: doubt_all() begins
// a new generation, and records of an earlier one are doubtful.
//
// A new file stays empty, and an old one keeps its identity, until the first change of a block is
// recorded or store_identity() is called.
//
// Layout: md5_file_layout.hpp; identity: md5_file_identity.hpp.
//
// Any thread may call load(). begin(), forget() and resolve() need the RangeLock on the blocks.
// Errors are the disk's or name the file, with the way out.
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
  using Records = std::vector<std::optional<Md5FileRecord>>;  // nothing if unknown

  // A change of blocks whose ranges the caller owns: their records are unknown until record().
  class Change {
   public:
    // Called after the layer below has succeeded, with the content of each block, or nothing if it
    // is unknown. If the disk is full or fails the blocks stay unknown, and that is logged.
    void record(std::span<const std::optional<Content>> contents);
    // The layer below has changed nothing: the old records are restored.
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
    std::uint32_t generation_;  // at its begin: it may end in another one
    OpenRegions::Hold hold_;
  };
  // A change of more blocks is not recorded: its blocks become unknown (forget()).
  static constexpr std::uint64_t kChange_blocks_max = 16384;

  // Puts an identity into the file, durably.
  using Store = std::function<void(const Identity&)>;

  [[nodiscard]] static std::optional<Identity> identity_of(const StorageFile& file) {
    return read_identity(file);
  }

  // Opens a file with this identity, which no other process uses, and recovers from a crash.
  // `store` is called to change the identity; if it is empty, the identity is written as it is.
  Md5File(std::shared_ptr<StorageFile> file, const Identity& identity, Store store = {});
  // Takes a file without identity, which gets this one by `store` with the first change.
  static std::unique_ptr<Md5File> make_new(std::shared_ptr<StorageFile> file,
                                           const Identity& identity, Store store);
  // Makes an empty md5-file of a file without identity.
  static Identity create(StorageFile& file, const std::string& export_name,
                         std::uint32_t block_size);
  // Only reads, and works also while a server uses the file.
  static Records read_records(const StorageFile& file, const Identity& identity, BlockNumber first,
                              std::uint64_t count);
  // Likewise, returns OpenRegions::doubted() without writing.
  static std::vector<std::uint64_t> doubted_regions(
      StorageFile& file, const Identity& identity,
      std::optional<std::uint64_t> only = std::nullopt);

  [[nodiscard]] const std::string& path() const { return file_->path(); }
  [[nodiscard]] Identity identity() const;

  // Sets the identity of the same file; it is written with the first change.
  void change_identity(const Identity& identity);
  // Makes all records doubtful. Later records are true in this term.
  void doubt_all(const std::optional<std::uint64_t>& term);
  // Writes the identity if it has not been written. Errors are the disk's, or those of Store.
  void store_identity();
  [[nodiscard]] bool is_stored() const { return is_stored_; }

  [[nodiscard]] Records load(BlockNumber first, std::uint64_t count) const;

  // `before` is the result of load() for the blocks to change, at most kChange_blocks_max. Returns
  // nothing if too much has been changed since the last flush: settle, then try again.
  [[nodiscard]] std::optional<Change> begin(BlockNumber first, const Records& before);

  // Makes any number of blocks unknown, durably. Returns false where begin() returns nothing.
  [[nodiscard]] bool forget(BlockNumber first, std::uint64_t count);

  // Makes a doubtful block that has been read written if it was right, else unknown. A right block
  // is never unknown in between. Returns false where begin() returns nothing.
  [[nodiscard]] bool resolve(BlockNumber block, bool right);

  // The caller flushes the layer below between the two.
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
  std::atomic<bool> exists_ = true;        // the file has an identity, if not this one
  std::atomic<bool> is_stored_ = true;     // it has this one
  Mutex storing_;                          // serializes writing the identity
  mutable Mutex mutex_;
  Identity identity_ GUARDED_BY(mutex_);
  OpenRegions regions_;
  std::atomic<bool> fails_{false};  // recording failed lately, and that was logged
  std::atomic<std::chrono::steady_clock::time_point> failed_at_{};  // the last time
  mutable std::atomic<bool> damaged_{false};  // a damaged record was found, and logged
};

}  // namespace nbdstack
