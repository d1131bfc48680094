// S3-FIFO: most blocks are used once and never again, so a new block has to be used again before it
// displaces one that has been.
//
// Yang, Zhang, Qiu, Yue, Rashmi: "FIFO Queues are All You Need for Cache Eviction", SOSP 2023.
//
//   queue    contains               a use                      at its old end
//   small    new blocks             -> main                    evicted -> ghosts
//   main     blocks of proven use   is noted                   noted: once more round; else evicted
//   ghosts   numbers of evicted     comes back: -> main        forgotten
//            new blocks
//
// Small offers victims while it has at least a quarter of the blocks. So a reader of the whole disk
// passes through that quarter, and main stays as it is. Most uses cost a read of one byte.
//
// Some rules differ from the paper's, because this cache has blocks of a disk, not objects:
//  - A block is larger than most requests, so a scan uses it 16 times in a row, and the paper's
//    counter takes it for popular. Uses close together are one use (the "correlated references" of
//    O'Neil, O'Neil, Weikum: "The LRU-K Page Replacement Algorithm", SIGMOD 1993): time is divided
//    into epochs, 64 of them while as many blocks arrive as are cached, and a use counts if the
//    block neither arrived nor was used before in the same epoch. (A scanned block whose uses
//    happen to span two epochs counts as one of proven use. That is rare while there are far fewer
//    readers than arrivals in an epoch: 16 of these for 1024 cached blocks.)
//  - With that filter one use is proof enough, instead of the paper's two, and main needs one bit
//    instead of two.
//  - A new block moves to main when it is used, not when it would be evicted, so no search for a
//    victim has to move many blocks first.
//  - Small is a quarter of the cache, not a tenth: small caches lose less, large ones nothing.
//  - There are twice as many ghosts as blocks: the journal of a file system comes round again after
//    more writes than the cache has blocks, and is worth keeping.
// bench/policy_replay measures their effect.
//
// Slots that may not be evicted (dirty, in use) are skipped and keep their place. A search
// considers some tens of blocks of each queue; if all it meets in main are noted as used, it offers
// the oldest of them nevertheless.
//
// Memory: nine bytes a slot, and from the first eviction on at most eight bytes a cached block for
// ghosts, whose number is between one and two times that of the cached blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "filters/cache/policy/eviction_policy.hpp"
#include "filters/cache/policy/ghost_table.hpp"
#include "filters/cache/policy/slot_queue.hpp"

namespace nbdstack {

class S3FifoPolicy final : public EvictionPolicy {
 public:
  // The bits of a slot's mark that belong to this policy.
  static constexpr std::uint8_t kMarkBits = 0x7f;

  // Policies for other slots may share the table.
  explicit S3FifoPolicy(std::shared_ptr<SlotTable> table)
      : table_(std::move(table)), small_(*table_), main_(*table_) {}

  void inserted(Slot slot, BlockNumber block) override;
  void used(Slot slot) override;
  void removed(Slot slot, BlockNumber block, Removal why) override;
  [[nodiscard]] Slot victim(const std::function<bool(Slot)>& may_go) override;
  // Visits small, then main.
  void in_eviction_order(const std::function<bool(Slot)>& visit) const override;
  [[nodiscard]] std::size_t size() const override { return small_.size() + main_.size(); }

 private:
  // The content of a slot's mark.
  struct Note {
    bool in_main = false;
    bool used = false;   // in main: since it came there or last moved to the new end
    unsigned epoch = 0;  // of the arrival or the last use
  };

  [[nodiscard]] Note note(Slot slot) const;
  void set_note(Slot slot, const Note& note);
  void send_noted_round();

  std::shared_ptr<SlotTable> table_;
  SlotQueue small_;
  SlotQueue main_;
  GhostTable ghosts_;
  unsigned epoch_ = 0;
  std::size_t arrivals_in_epoch_ = 0;
};

}  // namespace nbdstack
