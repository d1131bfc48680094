// What clients, cache directories and the volume itself may hold in a history of several hosts
// (hosts_history.hpp), page by page. A page is full of the stamp of the write that it holds.
//
//   PageTruth   what a read of the owner's client may return, and what a crash may bring back
//   Memory      the same of a cache directory that no server uses, and when it was last true
//   Oracle      what the objects may hold at this moment, whoever reads them
//
// What a request of an earlier life still does to an object that no later life has changed is
// documented (nbdkit-s3-plugin(1), LATE REQUESTS AND OTHER WRITERS): it is allowed everywhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/crash/cloud.hpp"

namespace nbdstack::testing {

inline constexpr std::uint32_t kHostsPage = 4096;
inline constexpr std::uint32_t kHostsBlock = 2 * kHostsPage;   // of the cache
inline constexpr std::uint32_t kHostsObject = 4 * kHostsPage;  // of the volume
inline constexpr std::uint64_t kHostsPages = 9;                // the last object is short
inline constexpr std::uint64_t kHostsSize = kHostsPages * kHostsPage;

using Stamps = std::set<std::uint64_t>;

struct PageTruth {
  Stamps now{0};      // what a read may return
  Stamps durable{0};  // what a crash may bring back: flushed last, or anything later
  // Something else than what was acknowledged last may still come: a change that failed.
  bool is_open = false;

  void attempt(std::uint64_t stamp) {
    now.insert(stamp);
    durable.insert(stamp);
  }
  void acknowledged(std::uint64_t stamp) {
    now = {stamp};
    is_open = false;
  }
  void failed() { is_open = true; }
  void flushed() { durable = now; }
  // A read has returned one of them.
  void seen(std::uint64_t stamp) {
    if (!is_open) now = {stamp};
  }
};
using Truth = std::array<PageTruth, kHostsPages>;

struct Memory {
  Truth pages{};
  bool is_used = false;
  std::uint64_t term = 0;      // of its last life
  std::uint64_t life = 0;      // the last one
  std::size_t changes = 0;     // that the volume had seen when that began
  bool is_unsure = false;      // a life ended while it began
  bool was_forced = false;     // in such a life a person had said cache-dirty=force
  bool was_discarded = false;  // the same with cache-dirty=discard
};

class Oracle {
 public:
  explicit Oracle(Cloud& cloud) : cloud_(cloud) {}

  // What goes wrong first; empty: all is well.
  [[nodiscard]] const std::string& fault() const { return fault_; }
  void fail(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }

  // What the volume holds at this moment.
  [[nodiscard]] std::uint64_t stored(std::uint64_t page) const;
  // What its next owner may find.
  [[nodiscard]] Stamps may_find(std::uint64_t page) const {
    return is_uncertain_.at(page) ? volume_.at(page) : Stamps{stored(page)};
  }
  [[nodiscard]] bool was_ever_stored(std::uint64_t stamp) const {
    return ever_stored_.contains(stamp);
  }

  [[nodiscard]] std::uint64_t owner() const { return cloud_.owner(); }
  // A life has got the right to write.
  void taken_over(std::uint64_t life);
  // The owner may store that from now on.
  void may_be_stored(std::uint64_t page, const Stamps& stamps);
  // A flush has succeeded that stores.
  void must_be_stored(const Truth& truth);
  void check_volume();

  // Of Cloud.
  void block_changed(const Cloud::Change& change, bool is_harmless,
                     const std::function<void(std::uint64_t page, std::uint64_t stamp)>& allow);
  [[nodiscard]] std::size_t changes() const { return changed_by_.size(); }
  // Anybody else than `life` has changed the volume since.
  [[nodiscard]] bool changed_by_others(std::size_t since, std::uint64_t life) const;

 private:
  Cloud& cloud_;
  std::array<Stamps, kHostsPages> volume_{};
  // What is allowed everywhere may have undone what was stored: either may be found (the record of
  // the blocks that are stored knows nothing of it), until a flush has stored the page again, as
  // something else than zeros.
  std::array<bool, kHostsPages> is_uncertain_{};
  std::set<std::uint64_t> ever_stored_{0};
  std::vector<std::uint64_t> changed_by_;  // the lives; 0: what is allowed everywhere
  std::string fault_;
};

}  // namespace nbdstack::testing
