// What is known of an export's blocks: that one holds nothing but zeros, that it is stored data, or
// nothing.
//
//   state     means                                   comes from
//   zeros     the block reads as zeros; it may be     a zero or a write of zeros that succeeded, a
//             a hole besides                          read that found them, extents below
//   data      the layer below stores it, whatever     a write that succeeded, extents below
//             its content
//   unknown   nobody has looked, or it cannot be      a change under way or failed, a trim; what
//             said of the block as a whole            is known in part only; a map that is full
//
// `data` is never wrong, only less than what could be known. `zeros` must never be wrong: reads are
// answered from it, and writes dropped. Two rules see to that:
//
//   - A change of a block takes `zeros` away before it is sent, and says what the block holds once
//     it has succeeded. A Change that ends in any other way leaves unknown what it covers.
//   - What is learnt from the layer below (a read's data, a reply about extents) may be older than
//     a change that has passed meanwhile. Whoever is going to learn opens a Watch before asking.
//     What is under change when the answer is there, or was changed to the end since the Watch
//     began, is left out of it.
//
// Where the connections to the layer below do not see each other's writes at once, an answer may be
// older than a change that ended before the question. There what was ever changed is not learnt any
// more (View::own_connection).
//
// The owner sees to it that changes which cover parts of one block at the same time do not disagree
// about what it holds (zeroblock_layer.hpp).
//
// Memory: a node for each run of equal blocks, however long, at most `most_runs`; a map that is
// full forgets runs, any of them. Units: bytes; what is kept are whole blocks. Any thread; nothing
// here calls out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/block/extents.hpp"
#include "common/block/range.hpp"
#include "common/block/run_map.hpp"

namespace nbdstack {

class ZeroMap {
  struct Watched {
    Range range;
    RunMap<bool> changed;  // parts whose change has ended since
    bool all_changed = false;

    void note(const Range& change, std::size_t most_runs) noexcept;
  };

 public:
  static constexpr std::size_t kMostRuns = 1U << 20U;  // some 80 MB

  // Which changes an answer of the layer below knows of: those that ended before the question on
  // any connection, or on the same one.
  enum class View : std::uint8_t { all_connections, own_connection };

  explicit ZeroMap(const BlockGeometry& geometry, View view = View::all_connections,
                   std::size_t most_runs = kMostRuns);

  [[nodiscard]] const BlockGeometry& geometry() const { return geometry_; }

  // --- What is known: in order, clipped to `range` ---

  [[nodiscard]] std::vector<Extent> known(const Range& range) const;
  [[nodiscard]] std::vector<Extent> zeros(const Range& range) const;
  [[nodiscard]] bool is_zeros(const Range& range) const;  // all of it
  [[nodiscard]] bool is_hole(const Range& range) const;   // zeros of which nothing is stored

  // What a change has made of a range of whole blocks. No type: unknown.
  struct Content {
    Range range;
    std::optional<ExtentType> type;
  };

  // A change under way, from before it is sent.
  class Change {
   public:
    Change(Change&& other) noexcept;
    Change& operator=(Change&&) = delete;
    ~Change();  // what was not committed has failed

    // What was known to be zeros in the blocks when the change began.
    [[nodiscard]] const std::vector<Extent>& zeros_before() const { return zeros_before_; }

    // It has succeeded. Blocks that no content names stay what they are now: data or unknown, not
    // zeros. So what was zeros before and has not been touched is named as well.
    void commit(std::span<const Content> contents);

   private:
    friend ZeroMap;
    Change(ZeroMap& map, const Range& blocks);  // map.mutex_ is held

    ZeroMap* map_;  // null: moved from
    std::list<Range>::iterator place_;
    std::vector<Extent> zeros_before_;
    std::uint64_t times_forgotten_;  // the map's, when the change began
    bool committed_ = false;
  };

  // Begins a change of `blocks`, of which the caller owns `owned` and nothing else. Nothing: there
  // are known zeros in `blocks` that the caller does not own.
  [[nodiscard]] std::optional<Change> begin_change(const Range& blocks, const Range& owned);

  // Nothing is known any more, nor is anything learnt from what is under way.
  void forget_all() noexcept;

  // Around a question to the layer below.
  class Watch {
   public:
    Watch(ZeroMap& map, const Range& range);
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();

    // What the layer below said, in order, of what lies in the watched range; may be called several
    // times. What it says of parts of blocks only is passed over, and so is a hole that does not
    // read as zeros. `data` is believed of what was unknown, `zeros` always.
    void learn(std::span<const Extent> found);

   private:
    ZeroMap& map_;
    std::list<Watched>::iterator place_;
  };

  [[nodiscard]] std::size_t runs() const;

 private:
  // With mutex_ held.
  void end_change(std::list<Range>::iterator place, bool committed) noexcept;
  void take_zeros_away(const Range& blocks, const std::vector<Extent>& zeros);
  void bound_runs(std::uint64_t keep_before);
  [[nodiscard]] bool is_all(const Range& range, bool (*accepts)(ExtentType)) const;
  [[nodiscard]] std::vector<Extent> zeros_locked(const Range& range) const;

  const BlockGeometry geometry_;
  const std::size_t most_runs_;
  const View view_;

  mutable std::mutex mutex_;  // protects everything below
  RunMap<ExtentType> runs_;   // by byte: kData, or zeros with or without a hole
  std::list<Range> changes_;  // under way, as whole blocks
  std::list<Watched> watches_;
  std::uint64_t times_forgotten_ = 0;  // all of it
  Watched since_start_;                // in View::own_connection: what was ever changed
};

}  // namespace nbdstack
