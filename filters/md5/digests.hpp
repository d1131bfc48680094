// What is known of the blocks of an export: in memory for what was written lately (DigestTable),
// and with an md5-file for everything that was ever written (Md5File).
//
//                     without md5-file          with md5-file
//   writing           the table                 the table
//   written           the table, while there    the file
//                     is room and time
//   unknown           everything else           everything else
//
// Blocks are changed by a Change, by who owns their range (RangeLock); one spans both. The order of
// its steps, so that nobody ever finds an old digest beside new data: the table says "writing", the
// file says "unknown", the layer below does it, the file says "written", the table lets go.
//
// The file needs the layer below to be flushed: flush() goes through here.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "common/sync/clock.hpp"
#include "filters/md5/digest_table.hpp"
#include "filters/md5/md5_file.hpp"
#include "filters/md5/md5_file_record.hpp"

namespace nbdstack {

class Digests {
 public:
  struct Watch {
    DigestTable::Pins pins;
    std::vector<std::pair<BlockNumber, Expectation>> blocks;
  };

  // What is to be known of the blocks of a change when it has succeeded.
  enum class Outcome : std::uint8_t { unknown, contents };

  // A change of the blocks that `run` touches; those that it covers can be known afterwards. From
  // its construction to its end they are being written; without commit() they are unknown.
  class Change {
   public:
    // May flush `below`, where much has been changed since the last flush. Errors are the file's.
    Change(Digests& digests, Layer& below, const BlockGeometry& geometry, const Range& run,
           Outcome outcome);

    // What a covered block will hold, from any thread; lets reads of it go on meanwhile.
    void announce(BlockNumber block, const Content& content);
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();

    // The layer below has done it; what blocks hold, nothing where that is unknown.
    void commit(const std::function<std::optional<Content>(BlockNumber)>& content_of);
    // The layer below has refused it and changed nothing: what was known still is.
    void undo();

   private:
    void begin_in_file(Md5File& file, Layer& below, const Md5File::Records& before);

    Digests& digests_;
    BlockNumber first_{};
    std::uint64_t count_ = 0;
    std::optional<DigestTable::Change> table_change_;
    std::optional<Md5File::Change> file_change_;
  };

  // `file` may be none.
  Digests(const DigestTable::Options& options, Clock& clock, std::unique_ptr<Md5File> file);

  [[nodiscard]] DigestTable& table() { return table_; }
  [[nodiscard]] const Md5File* file() const { return file_.get(); }

  // What a read has to hold its blocks against.
  [[nodiscard]] Watch watch(const Range& range, const BlockGeometry& geometry);
  // What is known of a block of this length. The caller owns its range.
  [[nodiscard]] std::optional<Md5FileRecord> known(BlockNumber block, std::uint32_t length);

  // A doubtful block, whose range the caller owns, was read and is right or not. May flush `below`.
  void resolve(Layer& below, BlockNumber block, bool right);

  // More blocks cannot be changed and remembered in one piece.
  [[nodiscard]] std::uint64_t most_in_a_change() const;

  // Others may have written to the disk, which tells this now. Nothing is known for certain.
  void doubt_all(const DiskIdentity* now);

  // Whether a flush would settle anything.
  [[nodiscard]] bool has_unsettled() const { return file_ != nullptr && !file_->quiet().empty(); }
  // Flushes below, where it can be, and settles what the file says of what was written before.
  void flush(Layer& below);

 private:
  Watch look(const Range& range, const BlockGeometry& geometry);
  void make_room(Md5File& file, Layer& below);

  const std::unique_ptr<Md5File> file_;
  DigestTable table_;
  // Changes that are in the file, and about to leave the table.
  std::atomic<std::uint64_t> changes_ended_{0};
};

}  // namespace nbdstack
