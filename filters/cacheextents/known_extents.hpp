// What is known of an export's extents: which ranges are data and which are holes, as far as the
// layer below has been asked and as changes have left them.
//
//   what passes               before it is sent   when it succeeded           when it failed
//   question                  -                   as the reply says           as it was
//   write                     data                data                        unknown
//   zero that must allocate   data                allocated zeros             unknown
//   zero that may punch holes data                unknown                     unknown
//   trim                      data                unknown                     unknown
//
// "Data" can be said of anything: at worst a copy reads zeros. "Hole" or "zeros" must never be said
// of data, and two rules see to it:
//
//  - A reply may be older than a change. A question under way notes every change that overlaps it
//    in time, wholly or in part, and nothing is learnt of their ranges from its reply.
//  - Two changes of one range may reach the disk in either order. Zeros are known only where no
//    other change overlapped the zeroing in time.
//
// A range that is unknown again is asked about again. What a zero that may punch holes, or a trim,
// has left is the layer below's choice, so it is asked.
//
// Questions: one is begun where nobody knows the answer, and about all that is unknown from there
// on as far as kAskedAhead. Who wants to know what a question under way is going to tell waits for
// it, once; when he is none the wiser then, he asks for himself.
//
// Bounds: memory by runs, at most `max_runs` of them (some 64 bytes each). When there would be
// more, runs are forgotten in turn from the disk's beginning to its end and round again; what is
// forgotten is asked about again. Nothing depends on the size of the disk.
//
// Any thread. mutex_ protects everything and is never held while the layer below is asked.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>

#include "common/block/extents.hpp"
#include "common/block/run_map.hpp"

namespace nbdstack {

class KnownExtents {
  // A question or a change, from before it is sent until after it is answered.
  struct UnderWay {
    Range range;
    bool is_change = false;
    std::uint64_t number = 0;  // counts them, for who waits
    RunMap<bool> disturbed;    // by changes at the same time; the value means nothing
  };
  using Place = std::list<UnderWay>::iterator;

 public:
  // As far ahead as a question is expected to be answered: the most that NBD can ask about, less so
  // much that it is a multiple of every block size. A layer may tell of less, or of more.
  static constexpr std::uint64_t kAskedAhead = (1ULL << 32) - 65536;
  // Extents in one answer: more would only keep the others waiting for the mutex.
  static constexpr std::size_t kMostExtents = 8192;
  // A multiple of every minimum block size that nbdkit knows.
  static constexpr std::uint64_t kGranule = 65536;

  // max_runs is at least 16.
  explicit KnownExtents(std::size_t max_runs) : max_runs_(max_runs) {}
  KnownExtents(const KnownExtents&) = delete;
  KnownExtents& operator=(const KnownExtents&) = delete;

  // Right to ask the layer below about range(), and to tell what it said. Ends with its life;
  // without learn() nothing has been learnt.
  class Question {
   public:
    Question(Question&& other) noexcept;
    Question& operator=(Question&&) = delete;
    ~Question();

    [[nodiscard]] const Range& range() const { return place_->range; }
    // `reply` begins where range() does; what it says of other ranges is ignored.
    void learn(const ExtentList& reply);

   private:
    friend KnownExtents;
    Question(KnownExtents& known, Place place) : known_(&known), place_(place) {}
    KnownExtents* known_;
    Place place_;
  };

  enum class Left : std::uint8_t { data, zeros, unknown };

  // Around a change of `range`: made before it is sent, and told when it has succeeded. One that is
  // not told has failed.
  class Change {
   public:
    Change(KnownExtents& known, const Range& range) : known_(known), place_(known.begin(range)) {}
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change();

    void succeeded(Left left) { left_ = left; }

   private:
    KnownExtents& known_;
    Place place_;
    Left left_ = Left::unknown;
  };

  // Either extents, at least one, from the beginning of what was asked on, or a question for the
  // caller to put to the layer below.
  struct Answer {
    ExtentList extents;
    std::optional<Question> question;
  };
  // `asked` is not empty and lies inside a disk of `size_bytes`; `only_one`: the first extent will
  // do. May wait for a question that somebody else has under way.
  Answer look(const Range& asked, std::uint64_t size_bytes, bool only_one);

  [[nodiscard]] std::size_t runs() const;
  // Whether anything was ever forgotten for want of room: then learning on is of little use.
  [[nodiscard]] bool has_forgotten() const;
  // Who waits for somebody else's question: lets a test know that somebody has begun to wait.
  [[nodiscard]] std::size_t waiting() const;

 private:
  using Lock = std::unique_lock<std::mutex>;

  // All with mutex_ held.

  // The extents from the beginning of `asked` on, as far as they are known.
  [[nodiscard]] ExtentList known_from(const Range& asked, bool only_one) const;
  // From `offset`, which is unknown, to the last offset within kAskedAhead that is: one question
  // for many gaps, and none about what is known behind them. Where that is the limit itself, all
  // that follows: a layer may know at once of a hole that is much longer. Ends at a multiple of
  // kGranule.
  [[nodiscard]] Range unknown_from(std::uint64_t offset, std::uint64_t size_bytes) const;
  // The number of a question whose reply is expected to tell of `offset`.
  [[nodiscard]] std::optional<std::uint64_t> question_about(std::uint64_t offset) const;
  [[nodiscard]] bool is_under_way(std::uint64_t number) const;
  // A question or change begins. It and every other under way are told of each other where one of
  // them is a change. When there is no memory for it, too much may be left disturbed, which is no
  // harm.
  Place enter(const Range& range, bool is_change);
  // `extent` becomes known, except for these ranges, and runs elsewhere than in `keep` are
  // forgotten for it. How many ranges of it became known.
  std::size_t learn(const Extent& extent, const RunMap<bool>& except, const Range& keep);
  // Forgets runs until there are no more than there may be; those of `keep` when there are no
  // others.
  void make_room(Range keep);

  // These two lock it.
  Place begin(const Range& range);
  void end(Place change, Left left);

  const std::size_t max_runs_;

  mutable std::mutex mutex_;  // protects everything below
  std::condition_variable question_ended_;
  RunMap<ExtentType> known_;  // unknown: no run
  std::list<UnderWay> under_way_;
  std::uint64_t next_number_ = 0;
  std::uint64_t next_forgotten_ = 0;  // where the next run to forget is looked for
  bool has_forgotten_ = false;
  std::size_t waiting_ = 0;
};

}  // namespace nbdstack
