// The known content of an export's blocks: in memory that of recent writes (DigestTable), and with
// an md5-file that of all writes (Md5File).
//
//                     without md5-file          with md5-file
//   writing           the table                 the table
//   written           the table, while there    the file
//                     is room and time
//   unknown           everything else           everything else
//
// A Change changes blocks in both, and its caller owns their range (RangeLock). Its steps are
// ordered so that no read finds an old digest beside new data: the table has "writing", the file
// "unknown", the layer below is called, the file has "written", the table releases its entries.
//
// The file must know of flushes of the layer below, so flush() is called here.
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

  // The knowledge about the changed blocks after success.
  enum class Outcome : std::uint8_t { unknown, contents };

  // A change of the blocks that `run` touches. From its construction to its end they are "writing";
  // after commit() the covered ones can be known, without commit() all are unknown.
  class Change {
   public:
    // May flush `below`, if much was changed since the last flush. Throws the file's errors.
    Change(Digests& digests, Layer& below, const BlockGeometry& geometry, const Range& run,
           Outcome outcome);

    // Sets the future content of a covered block, so that reads of it need not wait. Any thread.
    void announce(BlockNumber block, const Content& content);
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();

    // The layer below has succeeded. `content_of` returns nothing for an unknown block.
    void commit(const std::function<std::optional<Content>(BlockNumber)>& content_of);
    // The layer below has refused it and changed nothing: known blocks stay known.
    void undo();

   private:
    void begin_in_file(Md5File& file, Layer& below, const Md5File::Records& before);

    Digests& digests_;
    BlockNumber first_{};
    std::uint64_t count_ = 0;
    std::optional<DigestTable::Change> table_change_;
    std::optional<Md5File::Change> file_change_;
  };

  // `file` may be null.
  Digests(const DigestTable::Options& options, Clock& clock, std::unique_ptr<Md5File> file);

  [[nodiscard]] DigestTable& table() { return table_; }
  [[nodiscard]] const Md5File* file() const { return file_.get(); }

  // Returns the expected content for a read.
  [[nodiscard]] Watch watch(const Range& range, const BlockGeometry& geometry);
  // Returns the record of a block of this length. The caller owns its range.
  [[nodiscard]] std::optional<Md5FileRecord> known(BlockNumber block, std::uint32_t length);

  // The caller owns the range of a doubtful block, and has read and judged it. May flush `below`.
  void resolve(Layer& below, BlockNumber block, bool right);

  // The number of blocks that one change can remember.
  [[nodiscard]] std::uint64_t most_in_a_change() const;

  // Other writers may have changed the disk, which reports `now`: nothing is known for certain.
  void doubt_all(const DiskIdentity* now);

  // Returns whether a flush would settle anything.
  [[nodiscard]] bool has_unsettled() const { return file_ != nullptr && !file_->quiet().empty(); }
  // Flushes the layer below, if it can, and settles the file's records of earlier writes.
  void flush(Layer& below);

 private:
  Watch look(const Range& range, const BlockGeometry& geometry);
  void make_room(Md5File& file, Layer& below);

  const std::unique_ptr<Md5File> file_;
  DigestTable table_;
  // The number of changes that are recorded in the file, and about to leave the table.
  std::atomic<std::uint64_t> changes_ended_{0};
};

}  // namespace nbdstack
