// One order of the steps of some calls of the protocol between engine and durable store, on one
// slot: the engine's part, and the oracle (interleaving_test.cpp).
//
// One thread runs an order from its beginning: a commit is three steps, and what comes between them
// runs inside the simulated disk's hook, while the commit syncs.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/block/range.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/unit/cache/store/durable/order_calls.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

struct WouldWait {};

class OrderRun {
 public:
  OrderRun(Before before, const std::vector<Call>& calls, const std::vector<std::size_t>& order)
      : calls_(calls), order_(order), taken_steps_(calls.size()), in_flight_(calls.size()) {
    for (std::uint64_t block = 0; block < 2; ++block) {
      for (unsigned page = 0; page < 4; ++page) {
        below_[{block, page}] = 200 + static_cast<int>(4 * block + page);
        history_[{block, page}] = {below_[{block, page}]};
      }
    }
    store_ = std::make_unique<DurableStore>(disk_.directory(), kBlock, 2 * kBlock);
    store_->recover();
    set_up(before);
    disk_.set_hook([this](const SimulatedDisk::Operation& operation) {
      const bool stops = operation.kind == SimulatedDisk::Kind::sync &&
                         (operation.name == "data" || operation.name.starts_with("journal"));
      if (committing_ && stops) run_until_commit_goes_on();
    });
  }
  ~OrderRun() { disk_.set_hook({}); }
  OrderRun(const OrderRun&) = delete;
  OrderRun& operator=(const OrderRun&) = delete;

  // Empty: all is well. Throws WouldWait.
  std::string result() {
    while (next_ < order_.size() && fault_.empty()) step();
    if (fault_.empty()) {
      commit();
      check_live();
      check_crash(kNothingSurvives);
      check_crash(kAllSurvives);
    }
    return fault_;
  }

 private:
  static constexpr std::uint32_t kPage = 4096;
  static constexpr std::uint32_t kBlock = 4 * kPage;
  static constexpr Slot kSlot = 0;
  // Of what is not synced, with these seeds.
  static constexpr std::uint64_t kNothingSurvives = 6;
  static constexpr std::uint64_t kAllSurvives = 13;
  using Page = std::pair<std::uint64_t, unsigned>;  // block, page
  static constexpr Page kRead{0, 0};

  struct InFlight {
    WriteReceipt stored;
    std::uint64_t block = 0;
    PageMask pages = 0;    // owned
    int value = 0;         // on its way
    std::size_t seen = 0;  // changes of what is read, when the reader came
  };

  static std::vector<std::byte> bytes(int value) {
    return std::vector<std::byte>(kPage, static_cast<std::byte>(value));
  }
  int latest(const Page& page) { return history_[page].back(); }
  void changed(const Page& page, int value) {
    history_[page].push_back(value);
    if (page == kRead) changes_.push_back(value);
    open_.insert(page.second);
  }

  void set_up(Before before) {
    if (before == Before::nothing) return;
    whole(Call::write);
    if (before == Before::dirty) return;
    commit();
    if (before == Before::held) return;
    if (before == Before::zeros) {
      whole(Call::zero_block);
      return commit();
    }
    if (before == Before::second || before == Before::cleaned) {
      whole(Call::write);
      whole(Call::write_other);
      commit();
    }
    if (before == Before::clean || before == Before::cleaned) whole(Call::write_back);
    if (before == Before::clean) commit();
  }
  void whole(Call call) {
    InFlight flight;
    for (std::size_t i = 0; i < steps_of(call); ++i) perform(call, i, flight);
  }

  void step() {
    const std::size_t who = order_[next_++];
    const std::size_t number = taken_steps_[who]++;
    if (calls_[who] == Call::commit) {
      commit_step(number);
    } else {
      perform(calls_[who], number, in_flight_[who]);
    }
    check_live();
    check_crash(kNothingSurvives);
    check_crash(kAllSurvives);
  }

  // The first step of a commit contains the others.
  void commit_step(std::size_t number) {
    if (number > 0) {
      commit_goes_on_ = true;
      return;
    }
    if (committing_) throw WouldWait();
    committing_ = true;
    commit();
    committing_ = false;
  }
  void commit() {
    std::map<Page, std::ptrdiff_t> moment;
    for (const auto& [page, versions] : history_) {
      moment[page] = static_cast<std::ptrdiff_t>(versions.size());
    }
    closing_ = std::exchange(open_, {});
    store_->commit();
    closing_.clear();
    for (auto& [page, versions] : history_) {
      versions.erase(versions.begin(), versions.begin() + moment[page] - 1);
    }
  }
  void run_until_commit_goes_on() {
    commit_goes_on_ = false;
    while (!commit_goes_on_ && next_ < order_.size() && fault_.empty()) step();
  }

  void perform(Call call, std::size_t step, InFlight& flight) {
    switch (call) {
      case Call::write:
      case Call::write_other:
      case Call::write_next:
      case Call::load:
        return write(call, step, flight);
      case Call::zero:
        return step == 0 ? begin_zero(flight) : end_zero(flight);
      case Call::zero_block:
        own(flight, 0, 0b1111);
        store_->zeros_added({0, kBlock}, false);
        zeros_ = true;
        for (unsigned page = 0; page < 4; ++page) changed({0, page}, 0);
        if (block_ == 0U) leave();
        return release(flight);
      case Call::drop:
        if (block_ != 0U || pages_.dirty != 0 || writing_) throw WouldWait();
        return leave();
      case Call::write_back:
        return step == 0 ? begin_write_back(flight) : end_write_back(flight);
      case Call::read:
        return read(step, flight);
      case Call::commit:
        break;
    }
  }

  void own(InFlight& flight, std::uint64_t block, PageMask pages) {
    for (const InFlight& other : in_flight_) {
      if (other.block == block && (other.pages & pages) != 0) throw WouldWait();
    }
    if (writing_ && pages == 0b1111) throw WouldWait();
    flight.block = block;
    flight.pages = pages;
  }
  void release(InFlight& flight) { flight.pages = 0; }
  void claim(std::uint64_t block) {
    if (!block_) {
      if (pins_ > 0) throw WouldWait();
      store_->taken(kSlot);
      block_ = block;
      pages_ = {};
      if (block == 0 && zeros_) {
        store_->zeroed(kSlot, {0}, {.pages = 0b1111}, false);
        store_->zeros_removed({0, kBlock});
        zeros_ = false;
        pages_ = {.valid = 0b1111, .dirty = 0b1111, .zero = 0b1111, .hole = 0};
        for (unsigned page = 0; page < 4; ++page) open_.insert(page);
      }
    }
    if (block_ != block) throw WouldWait();
    ++pins_;
  }
  void leave() {
    block_.reset();
    store_->dropped(kSlot);
    for (unsigned page = 0; page < 4; ++page) open_.insert(page);
    if (pins_ == 0) store_->vacated(kSlot);
  }
  void unpin() {
    if (--pins_ == 0 && !block_) store_->vacated(kSlot);
  }

  void write(Call call, std::size_t step, InFlight& flight) {
    const unsigned page = call == Call::write || call == Call::write_next ? 0 : 1;
    const std::uint64_t block = call == Call::write_next ? 1 : 0;
    const bool is_load = call == Call::load;
    if (step == 0) {
      own(flight, block, page_run(page, 1));
      // What is being committed waits for the commit.
      if (closing_.contains(page)) throw WouldWait();
      if (is_load && (zeros_ || (block_ == 0U && (pages_.valid >> page & 1U) != 0))) {
        throw WouldWait();
      }
      claim(block);
      if (closing_.contains(page)) throw WouldWait();
      flight.value = is_load ? below_[{block, page}] : ++stamp_;
      flight.stored = store_->write(kSlot, bytes(flight.value), page * kPage, pages_.stored());
      return;
    }
    if (block_ == block) {
      store_->wrote(kSlot, {block}, flight.stored, !is_load);
      pages_.valid |= flight.pages;
      pages_.dirty = is_load ? pages_.dirty & ~flight.pages : pages_.dirty | flight.pages;
      pages_.zero &= ~flight.pages;
      open_.insert(page);
      if (!is_load) changed({block, page}, flight.value);
    }
    release(flight);
    unpin();
  }

  void begin_zero(InFlight& flight) {
    own(flight, 0, 0b0001);
    claim(0);
    flight.stored = store_->forget(kSlot, 0b0001, pages_.stored() & 0b0001);
  }
  void end_zero(InFlight& flight) {
    if (block_ == 0U) {
      store_->zeroed(kSlot, {0}, flight.stored, false);
      pages_.valid |= 0b0001;
      pages_.dirty |= 0b0001;
      pages_.zero |= 0b0001;
      changed({0, 0}, 0);
    }
    release(flight);
    unpin();
  }

  // FUA below: it is durable there when the second step comes.
  void begin_write_back(InFlight& flight) {
    if (!block_ || writing_) throw WouldWait();
    const PageMask sent = store_->committed(kSlot, pages_.unwritten());
    if (sent == 0) throw WouldWait();
    flight.block = *block_;
    for (unsigned page = 0; page < 4; ++page) {
      if ((sent >> page & 1U) != 0) below_[{*block_, page}] = latest({*block_, page});
    }
    flight.stored.pages = sent;
    pages_.dirty &= ~sent;
    writing_ = true;
    ++pins_;
  }
  void end_write_back(InFlight& flight) {
    const PageMask cleaned = flight.stored.pages & ~pages_.dirty;
    writing_ = false;
    if (cleaned != 0) store_->cleaned(kSlot, cleaned);
    unpin();
  }

  // What it finds was there when it began, was on its way, or came later. Stamps are ascending, and
  // two are on their way at most.
  void read(std::size_t step, InFlight& flight) {
    if (step == 0) {
      if (block_ != kRead.first || (pages_.stored() & 1U) == 0) throw WouldWait();
      ++pins_;
      flight.seen = changes_.size();
      flight.value = is_owned(kRead) ? stamp_ - 2 : stamp_;
      return;
    }
    std::vector<std::byte> content(kPage);
    store_->read(kSlot, content, 0);
    const int found = std::to_integer<int>(content[0]);
    const auto first = changes_.begin() + static_cast<std::ptrdiff_t>(flight.seen) - 1;
    const bool is_new = found > flight.value && found <= stamp_;
    if (std::find(first, changes_.end(), found) == changes_.end() && !is_new) {
      fail(fmt::format("a reader found {}", found));
    }
    unpin();
  }

  [[nodiscard]] bool is_owned(const Page& page) const {
    return std::any_of(in_flight_.begin(), in_flight_.end(), [&](const InFlight& flight) {
      return flight.block == page.first && (flight.pages >> page.second & 1U) != 0;
    });
  }
  void fail(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }

  void check_live() {
    for (unsigned page = 0; block_ && page < 4; ++page) {
      if ((pages_.stored() >> page & 1U) == 0 || is_owned({*block_, page})) continue;
      std::vector<std::byte> content(kPage);
      store_->read(kSlot, content, page * kPage);
      const int expected = latest({*block_, page});
      if (content != bytes(expected)) {
        fail(fmt::format("page {} of block {} holds {}, not {}", page, *block_,
                         std::to_integer<int>(content[0]), expected));
      }
    }
  }

  void check_crash(std::uint64_t seed) {
    SimulatedDisk crashed = disk_.copy();
    crashed.crash(seed);
    DurableStore store(crashed.directory(), kBlock, 2 * kBlock);
    const Recovered recovered = store.recover();
    for (std::uint64_t block = 0; block < 2; ++block) {
      for (unsigned page = 0; page < 2; ++page) check_page(store, recovered, {block, page});
    }
  }
  void check_page(DurableStore& store, const Recovered& recovered, const Page& page) {
    int found = below_[page];
    bool is_clean = false;
    for (const RecoveredZeros& zeros : recovered.zeros) {
      if (zeros.range.contains({page.first * kBlock, kBlock})) found = 0;
    }
    for (const RecoveredBlock& block : recovered.blocks) {
      if (block.block.value != page.first || (block.pages.valid >> page.second & 1U) == 0) continue;
      const bool dirty = (block.pages.dirty >> page.second & 1U) != 0;
      if (!store.verify(block.slot, block.pages.stored())) {
        if ((block.pages.stored() & block.pages.dirty) != 0)
          fail("a crash has damaged dirty pages");
        continue;
      }
      std::vector<std::byte> content(kPage);
      const bool is_zero = (block.pages.zero >> page.second & 1U) != 0;
      if (!is_zero) store.read(block.slot, content, page.second * kPage);
      found = std::to_integer<int>(content[0]);
      is_clean = !dirty;
    }
    const std::vector<int>& versions = history_[page];
    bool allowed = std::find(versions.begin(), versions.end(), found) != versions.end();
    for (const InFlight& flight : in_flight_) {
      const bool is_of_it = flight.block == page.first && (flight.pages >> page.second & 1U) != 0;
      allowed = allowed || (is_of_it && flight.value == found);
    }
    if (!allowed)
      fail(fmt::format("page {} of block {} is {} after a crash", page.second, page.first, found));
    if (is_clean && found != below_[page]) {
      fail(fmt::format("page {} of block {} is clean after a crash, and {} below", page.second,
                       page.first, below_[page]));
    }
  }

  const std::vector<Call>& calls_;
  const std::vector<std::size_t>& order_;
  std::size_t next_ = 0;
  std::vector<std::size_t> taken_steps_;
  std::vector<InFlight> in_flight_;
  SimulatedDisk disk_;
  std::unique_ptr<DurableStore> store_;
  // The engine's part.
  std::optional<std::uint64_t> block_;
  Pages pages_;
  int pins_ = 0;
  bool zeros_ = false;  // block 0
  bool writing_ = false;
  // The oracle's.
  std::map<Page, std::vector<int>> history_;  // since the last commit
  std::map<Page, int> below_;
  std::vector<int> changes_{200};  // of kRead, since the beginning
  std::set<unsigned> open_;        // pages of the slot that have changed in this epoch
  std::set<unsigned> closing_;
  int stamp_ = 0;
  bool committing_ = false;
  bool commit_goes_on_ = false;
  std::string fault_;
};

}  // namespace nbdstack::testing
