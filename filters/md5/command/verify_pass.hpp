// One pass over an export: compares every block that its md5-file knows with its record.
//
// Neighbouring known blocks are read together, several such reads are in flight at a time, and
// unknown blocks are not read. A read of several blocks that fails is repeated block by block.
//
//   a block                                                counts as
//   ----------------------------------------------------   ------------------------------------
//   that matches its record                                verified; or doubtful and right
//   that differs from a doubted record                     doubtful and different: no damage
//   that differs while its record changes                  changed: no damage
//   that differs three times, as described below           lost, old or damaged
//   that cannot be read, not even alone                    unreadable
//
// Meanwhile a server may change the disk and the file, may crash, and another may take over: none
// of that may look like damage. A block that differs is a suspect, and is read again later, alone,
// in this order:
//
//   1. the record is R, as it was a second ago already
//   2. the block is read
//   3. the export is flushed
//   4. the list of regions does not have the block's
//   5. the record is still R
//
// If the block then differs from R, it is damaged, or its storage returns old data:
//
//  - A change of the block makes its record unknown before the disk changes, and known again after
//    that (digests.hpp). So if R stands from 1 to 5, no change was in flight at 2.
//  - Data read through a running server may come from a cache above the filter, and be newer than
//    what the filter has received. The flush brings it there, and the record is not R at 5.
//  - R at 5 is the same R, and not a new one like it: a record has the second of its change. R is a
//    second old at 1, so a change that ends later writes another one. (If the machine's clock is
//    set back to that very second, this fails; the block is read three times for that, too.) A torn
//    record, because it is being written, is none.
//  - The disk may lack a change that was not flushed, after a crash of something below the filter.
//    But from before such a change its region is on the list, and leaves it only when the disk was
//    flushed since, with R then; or by recovery, which makes R doubtful before. As the list is read
//    between 2 and 5, a recovery that made 4 true shows at 5. A change that enters the list after 4
//    makes R unknown before it changes the disk, after 2.
//
// So it is certain that R was true of the disk, and that the block was not changed since, provided
// that all changes pass the filter with this file, that no layer above it ignores flushes, and that
// the export otherwise shows what the layer below the filter shows.
//
// A suspect whose record changes begins again, a few times: a block that is being changed all the
// time is verified as well as possible. Suspects wait for their time beside the pass; if there are
// too many (a disk on which nothing is right), the pass waits for them.
//
// One thread uses it, except for the digests. Memory: the requests in flight, a few thousand
// records, and the suspects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/sync/clock.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/md5/command/export_reader.hpp"
#include "filters/md5/command/known_blocks.hpp"

namespace nbdstack {

enum class Damage : std::uint8_t {
  lost,     // reads as zeros
  old,      // holds its content before its last change
  damaged,  // holds other content
  unreadable
};

struct Finding {
  BlockNumber block;
  Range range;
  std::int64_t written_at_s = 0;  // since 1970
  Damage damage = Damage::damaged;
};

struct VerifyResult {
  std::uint64_t blocks = 0;  // of the export
  std::uint64_t verified = 0;
  std::uint64_t doubtful_right = 0;
  std::uint64_t doubtful_different = 0;
  std::uint64_t changed = 0;
  std::uint64_t lost = 0;
  std::uint64_t old = 0;
  std::uint64_t damaged = 0;
  std::uint64_t unreadable = 0;
  std::uint64_t bytes = 0;  // read, of known blocks

  [[nodiscard]] std::uint64_t wrong() const { return lost + old + damaged; }
  [[nodiscard]] bool all_is_well() const { return wrong() + unreadable == 0; }
  // Valid at the end of the pass.
  [[nodiscard]] std::uint64_t unknown() const {
    return blocks - verified - doubtful_right - doubtful_different - changed - wrong() - unreadable;
  }
  // Returns whether more than one block was judged, and none was right.
  [[nodiscard]] bool nothing_matched() const {
    return verified + doubtful_right == 0 && wrong() > 1;
  }
};

class VerifyPass {
 public:
  struct Options {
    std::size_t requests = 16;          // under way at a time
    std::size_t run_bytes = 1U << 20U;  // neighbours that are read together
    std::size_t most_suspects = 65536;  // reads in flight may add more
  };
  // run() calls these functions.
  struct Events {
    // `failure` of the read; empty unless it is unreadable.
    std::function<void(const Finding&, const std::string& failure)> found;
    std::function<void(const VerifyResult& so_far, double percent)> progress;
  };
  static constexpr Duration kPause = std::chrono::milliseconds(1100);
  static constexpr unsigned kWrongReads = 2;  // of a suspect
  static constexpr unsigned kLooks_max = 6;   // at a suspect

  // All arguments outlive this.
  VerifyPass(KnownBlocks& known, ExportReader& reader, WorkerPool& hashing, Clock& clock,
             const Options& options, Events events);

  // Called once. Errors are the file's and the export's.
  VerifyResult run();

 private:
  struct Suspect {
    KnownBlock known;  // with the record as seen a while ago
    TimePoint due;     // when that was long enough ago
    unsigned looks = 0;
    unsigned wrong_reads = 0;
  };
  struct Read {
    std::vector<KnownBlock> blocks;  // neighbours
    std::optional<Suspect> suspect;  // the block to read, and the record at step 1
    bool alone = false;              // it is not repeated if it fails
    std::vector<std::byte> data;
  };
  struct Found {
    Md5Digest digest;
    std::span<const std::byte> data;
  };

  void start_reads();
  bool start_next();
  void start(Read read);
  bool start_suspect();
  [[nodiscard]] std::vector<KnownBlock> take_run();

  void finish(const std::vector<ExportReader::Outcome>& outcomes);
  void fail(Read& read, const std::string& failure);
  void judge_different(const KnownBlock& known);
  void judge_again(Suspect suspect, const Found& found);
  void look_again(Suspect suspect);
  void count_right(const Md5FileRecord& record);
  void report_wrong(const KnownBlock& known, const Found& found);
  void report(const KnownBlock& known, Damage damage, const std::string& failure);

  KnownBlocks& known_;
  ExportReader& reader_;
  WorkerPool& hashing_;
  Clock& clock_;
  const Options options_;
  const Events events_;
  VerifyResult result_;

  std::deque<KnownBlock> waiting_;  // not read yet
  bool all_taken_ = false;          // from known_
  std::deque<KnownBlock> alone_;    // to be read again, each alone
  std::deque<Suspect> suspects_;    // in the order in which they are due
  std::map<std::uint64_t, Read> under_way_;
  std::uint64_t next_read_ = 0;
};

}  // namespace nbdstack
