// A client of DurableStore that does what the cache's engine does, at random, with one thread: and
// the judge of what a crash left. Between write() and wrote() of a change anything else may happen
// that does not touch its pages: commits, other changes, the loss of its slot.
//
// At every operation on the simulated disk a copy of the disk crashes, a second store recovers from
// it, and what it recovered is compared with what the model allows. While a commit syncs, other
// verbs run inside the hook, as they would in another thread.
//
// Some seeds encrypt the pages (seeded_cipher.hpp), of which nothing else is any different.
//
// damage() works on copies, too: of a server that was killed, or of a machine that has lost power
// after confirm(). One file of the copy is damaged, cut, lost, or an older copy of itself; then the
// start has to be refused, or everything that was committed is there or an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/crypto/unit_cipher.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/crash/page_history.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

class StoreWorkload {
 public:
  explicit StoreWorkload(std::uint64_t seed);
  ~StoreWorkload();
  StoreWorkload(const StoreWorkload&) = delete;
  StoreWorkload& operator=(const StoreWorkload&) = delete;

  // Until that many crashes have been judged, or a fault was found.
  void run(std::size_t crash_points);

  // The same with damaged copies instead of crashes.
  void run_damaged(std::size_t copies);
  [[nodiscard]] std::size_t refused() const { return refused_; }

  [[nodiscard]] std::size_t crash_points() const { return crash_points_; }
  // Empty: all is well.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  static constexpr std::uint32_t kBlock_bytes = 16384;
  static constexpr unsigned kPagesPerBlock = kBlock_bytes / kPage_bytes;
  static constexpr std::uint64_t kBlocks = 6;
  static constexpr std::uint64_t kPages = kBlocks * kPagesPerBlock - 1;  // the last one is short
  static constexpr Slot kSlots = 4;

  struct Block {
    BlockNumber number;
    Pages pages;
  };
  // What a store says of the whole disk.
  struct View {
    std::map<Slot, Block> slots;
    std::set<std::uint64_t> zeros;  // blocks
  };
  struct WriteBack {
    Slot slot;
    PageMask sent;
  };
  // A write() that has no wrote() yet. The slot is pinned, and the pages are its own.
  struct Pending {
    Slot slot = kNoSlot;
    BlockNumber block;
    unsigned first = 0;
    std::vector<PageContent> contents;
    bool dirty = false;
    WriteReceipt stored;
  };
  enum class Exact : bool { no, yes };
  enum class Damage : bool { none, expected };

  [[nodiscard]] static bool is_in(PageMask mask, std::uint64_t page);
  [[nodiscard]] static unsigned pages_of(std::uint64_t block);
  [[nodiscard]] static Range range_of(std::uint64_t block);
  [[nodiscard]] std::unique_ptr<DurableStore> store_on(const SimulatedDisk& disk) const;

  std::uint64_t pick(std::uint64_t bound) { return random_() % bound; }
  void start(Recovered recovered);
  void step();
  void step_beside_commit();

  void write(std::uint64_t block);
  void load(std::uint64_t block);
  void zero_pages(std::uint64_t block);
  void zero_blocks(std::uint64_t first, std::uint64_t count);
  void begin_write_back(std::uint64_t block);
  void end_write_back();
  void zero_below(std::uint64_t block);
  void pass_by(std::uint64_t block);
  void trim_around(std::uint64_t block);
  void evict(Slot slot);
  void commit();
  void publish();
  void restart();
  void crash_and_restart();

  [[nodiscard]] Slot find(std::uint64_t block) const;
  Slot claim(std::uint64_t block);
  void drop(Slot slot);
  void forget(Slot slot, PageMask mask);
  [[nodiscard]] PageMask clean_pages(Slot slot) const;
  void note_changed(Slot slot) { changed_.insert(slot); }
  [[nodiscard]] bool is_writing(Slot slot) const;
  [[nodiscard]] bool may_change(Slot slot) const;
  void store_pages(Slot slot, unsigned first, const std::vector<PageContent>& contents, bool dirty);

  // --- store_pending.cpp: changes that take their time ---
  void begin_store(Slot slot, unsigned first, const std::vector<PageContent>& contents, bool dirty);
  void end_store(std::size_t number);
  [[nodiscard]] PageMask pending_pages(std::uint64_t block) const;
  [[nodiscard]] bool is_pinned(Slot slot) const;
  [[nodiscard]] bool is_pending(std::uint64_t page, std::span<const std::byte> bytes) const;
  [[nodiscard]] PageContent content_of(Slot slot, unsigned page);

  void on_operation(const SimulatedDisk::Operation& operation);
  void judge_crash();
  // Recovers from the disk, compares with the model, and returns what is there.
  std::optional<View> judge(SimulatedDisk& disk, Exact exact, std::vector<PageContent>* found,
                            Damage damage = Damage::none);
  bool judge_page(DurableStore& store, const View& view, std::uint64_t page, Exact exact,
                  PageContent* found);
  void fail(const std::string& what);

  // --- store_damage.cpp ---
  void judge_damage();
  std::string damage(SimulatedDisk& disk);

  std::mt19937_64 random_;
  const std::shared_ptr<const UnitCipher> cipher_;  // null: the pages lie in the clear
  SimulatedDisk disk_;
  std::unique_ptr<DurableStore> store_;
  View view_;
  std::vector<Slot> free_;
  PageHistory history_;
  std::vector<PageContent> below_;
  std::vector<WriteBack> write_backs_;
  std::vector<Pending> pending_;
  std::set<Slot> changed_;  // since the last commit began
  std::set<Slot> committing_;
  bool in_commit_ = false;
  bool nested_ = false;
  std::optional<SimulatedDisk> older_;  // the disk as it was a while ago; there: damage only
  std::size_t refused_ = 0;
  std::uint64_t stamp_ = 0;
  std::size_t crash_points_ = 0;
  std::size_t enough_ = 0;
  std::string fault_;
};

}  // namespace nbdstack::testing
