// The consistency check: a layer that compares data that it reads with the last write.
//
// Reading. The remembered blocks of a request (digest_table.hpp) are verified, all others pass. A
// request is read below at once, widened so that remembered blocks are read whole. A block that
// does not match is read again on its own, with pauses that double, until it matches or retry_time
// is over (EIO). Its range is owned for each attempt, so that no write of it is in flight and the
// result is certain. Only there may a reader wait for a writer: of the same block, if the data
// matches neither the old nor the new content.
//
// Writing. The range of a change, in whole blocks, is owned (RangeLock) while the layer below
// works: a block has one change at a time, and changes of different blocks do not wait for each
// other. The effect on a block:
//
//                  remembered                             not remembered
//   whole write    written below, remembered              written below, remembered
//   part written   read, verified, merged, written        written below as it is, stays unknown:
//   or zeroed      whole, remembered                      only the layer below knows whether it has
//                                                         to read the rest of the block for it
//   whole zeroed   zeroed below, remembered as zeros      the same, if the table has room to spare
//   trimmed        trimmed below, unknown                 trimmed below
//
// A merged block is written whole although only a part is new: a layer that gets a part of its
// preferred block reads the rest itself, and would merge into a stale copy, unverified.
//
// Calls below are made on the caller's thread, one after the other, which keeps the thread model of
// the layer below. Digests of large requests are computed by several threads, those of a write
// while the layer below works.
//
// Digests are used only while no other writer can have changed the disk (writer_watch.hpp). Without
// the right to write, reads pass, and a part of a block is written as it is.
//
// With an md5-file (md5_file.hpp) every written block is remembered, also by the next server. The
// first read of a block that is doubtful after a crash confirms it, or makes it unknown.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "common/block/forwarding_layer.hpp"
#include "common/block/range.hpp"
#include "common/block/range_lock.hpp"
#include "common/block/writer_watch.hpp"
#include "common/log.hpp"
#include "common/metrics/cells.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/md5/digests.hpp"

namespace nbdstack {

// They count nothing unless somebody measures.
struct Md5Counters {
  Counter verified_bytes;
  Counter mismatches;  // blocks that differed at first
  Counter failures;    // blocks that differed for retry_time
};

struct Md5Options {
  std::size_t table_blocks = 10000;
  Duration cache_time = std::chrono::seconds(10);  // for ever if zero
  Duration retry_time = std::chrono::seconds(30);
  Duration min_write_delay{};  // at most cache_time, unless that is zero
  bool verbose = false;        // log the decision for each block
  Md5Counters counters{};
};

// The state that the connections to one export share.
struct Md5Export {
  // `file` may be null. `identity` is the layer below's report about its disk, or null.
  Md5Export(const Md5Options& md5_options, std::uint32_t block_size_bytes, Clock& the_clock,
            std::unique_ptr<Md5File> file = nullptr,
            const std::shared_ptr<const DiskIdentity>& identity = nullptr);

  const Md5Options options;
  const std::uint32_t block_size;
  const Md5Digest zeros_digest;  // of a block of full length
  Clock& clock;
  RangeLock changes;  // of whole blocks, owned to change them or to keep them from changing
  Digests digests;
  WriterWatch writers;  // whether the digests are those of the disk's present content
  WorkerPool hashing;
};

class Md5Layer final : public ForwardingLayer {
 public:
  // The clock of `shared` outlives the layer.
  Md5Layer(LayerBelow layer_below, std::shared_ptr<Md5Export> shared);

  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }
  void pread(std::span<std::byte> buffer, std::uint64_t offset) override;
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
              Durability durability) override;
  void flush() override { shared_->digests.flush(below()); }
  void finalize() override;
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override;
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override;

 private:
  // Consecutive blocks.
  struct Blocks {
    BlockNumber first;
    std::uint64_t count;
  };
  // The owner of the range of a block to read again.
  enum class Owner : std::uint8_t { nobody, caller };
  struct Mismatch {
    Md5FileRecord expected;
    Md5Digest found;
    bool all_zeros;
  };
  using Merge = std::function<void(std::span<std::byte> part_of_block)>;

  [[nodiscard]] bool trusts_digests() { return shared_->writers.trusts(below()); }

  // The blocks that `range` touches, and the range that they cover.
  [[nodiscard]] Blocks blocks_of(const Range& range) const;
  [[nodiscard]] Range widened(const Range& range) const;

  // Reading (md5_read.cpp)
  void read_below(std::span<std::byte> buffer, std::uint64_t offset);
  void read_and_verify(std::span<std::byte> buffer, std::uint64_t offset,
                       const Digests::Watch& watch);
  void read_until_right(BlockNumber block, std::span<std::byte> data, Owner owner);
  std::optional<Mismatch> read_again(BlockNumber block, std::span<std::byte> data, Owner owner);
  [[noreturn]] void give_up(BlockNumber block, const Mismatch& wrong, unsigned reads,
                            Duration spent) const;
  void confirm(BlockNumber block, const Md5Digest& found);
  void resolve(BlockNumber block, bool right);

  // Changing (md5_write.cpp), with the range owned
  [[nodiscard]] bool must_fold(const Range& piece);
  template <typename Fold, typename Direct>
  void change(const Range& range, Fold&& fold, Direct&& direct);
  void fold(const Range& piece, const Merge& merge, Durability durability);
  void write_run(std::span<const std::byte> data, std::uint64_t offset, Durability durability);
  void zero_run(const Range& run, const ZeroOptions& options);
  void wait_for_delay(const Blocks& blocks);
  [[nodiscard]] Md5Digest digest_of_zeros(std::uint32_t length) const;

  template <typename... Args>
  void explain(fmt::format_string<Args...> format, Args&&... args) const {
    if (shared_->options.verbose) log::debug(format, std::forward<Args>(args)...);
  }

  const std::shared_ptr<Md5Export> shared_;
  const BlockGeometry geometry_;  // this connection's size, the export's block size
  LayerTraits traits_;
};

}  // namespace nbdstack
