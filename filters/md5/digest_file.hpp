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
// Layout: md5_file_layout.hpp. The identity is text:
//   md5-file=1  export=NAME  block_size=BYTES  uuid=HEX  check=HEX (XXH3 of the lines before)
//
// Who calls: load() anybody. A change belongs to who owns the range of its blocks (RangeLock).
// Errors are the disk's or name the file; each says what to do.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "filters/md5/digest_record.hpp"
#include "filters/md5/open_regions.hpp"

namespace nbdstack {

class DigestFile {
 public:
  struct Identity {
    std::string export_name;
    std::uint32_t block_size = 0;
    std::string uuid;  // of the file itself
  };
  using Records = std::vector<std::optional<DigestRecord>>;  // nothing: unknown

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
    friend class DigestFile;
    Change(DigestFile& file, BlockNumber first, Records before, OpenRegions::Hold hold)
        : file_(&file), first_(first), before_(std::move(before)), hold_(std::move(hold)) {}

    DigestFile* file_;
    BlockNumber first_;
    Records before_;
    OpenRegions::Hold hold_;
  };
  // What is longer is forgotten.
  static constexpr std::uint64_t kLongestChange = 16384;  // blocks

  // What `file` says it is; nothing where it is empty or its creation was cut short. An Error where
  // it is something else, or damaged.
  [[nodiscard]] static std::optional<Identity> identity_of(const StorageFile& file);

  // A file that has been claimed: recovers from a crash. Nobody else uses the file.
  DigestFile(std::shared_ptr<StorageFile> file, const Identity& identity);
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
  [[nodiscard]] const Identity& identity() const { return identity_; }

  [[nodiscard]] Records load(BlockNumber first, std::uint64_t count) const;

  // `before`: what load() says of the blocks that are to be changed, at most kLongestChange.
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
  void recover();
  void doubt(std::uint64_t region);
  void store(BlockNumber first, const Records& records);
  void store_or_say(BlockNumber first, const Records& records);
  void make_unknown(BlockNumber first, const Records& before);
  void punch(BlockNumber first, std::uint64_t count);

  const std::shared_ptr<StorageFile> file_;
  const Identity identity_;
  const std::uint64_t seed_;
  OpenRegions regions_;
  std::atomic<bool> fails_{false};            // the last attempt to record did, and was logged
  mutable std::atomic<bool> damaged_{false};  // a damaged record was found, and logged
};

}  // namespace nbdstack
