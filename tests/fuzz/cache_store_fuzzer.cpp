// A cache directory that a store has written (durable_store.hpp), of which one byte is damaged.
//
//   the input     is what a store is told, two bytes an operation; the last two say which byte of
//                 which file is damaged
//   undamaged     a start finds what was committed, all of it
//   damaged       a start is refused, or finds every page that was committed dirty: with what was
//                 written, or known to be damaged. It is never found clean, other, or gone
//   salvaged      whatever is damaged, no page holds what was never written to it
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "filters/cache/store/durable/durable_store.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr std::uint32_t kPage_bytes = 4096;
constexpr unsigned kPages = 4;
constexpr std::uint32_t kBlock_bytes = kPages * kPage_bytes;
constexpr std::uint64_t kBlocks = 8;

// What a page was filled with; nothing: it is not dirty. A block lies in the slot of its number.
using Contents = std::map<std::pair<Slot, unsigned>, std::uint8_t>;

class Store {
 public:
  Store(const testing::SimulatedDisk& disk, Damaged damaged)
      : store_(disk.directory(), kBlock_bytes, kBlocks * kBlock_bytes, damaged),
        found_(store_.recover()) {
    for (const RecoveredBlock& block : found_.blocks) pages_[block.slot] = block.pages;
  }

  void write(Slot slot, unsigned page, std::uint8_t value) {
    take(slot);
    Pages& pages = pages_[slot];
    const std::vector<std::byte> content(kPage_bytes, static_cast<std::byte>(value));
    store_.wrote(slot, {slot}, store_.write(slot, content, page * kPage_bytes, pages.stored()),
                 true);
    pages.valid |= page_run(page, 1);
    pages.dirty |= page_run(page, 1);
    pages.zero &= ~page_run(page, 1);
  }
  void zero(Slot slot, unsigned page) {
    take(slot);
    Pages& pages = pages_[slot];
    const PageMask mask = page_run(page, 1);
    store_.zeroed(slot, {slot}, store_.forget(slot, mask, pages.stored() & mask), false);
    pages.valid |= mask;
    pages.dirty |= mask;
    pages.zero |= mask;
  }
  void clean(Slot slot) {
    if (!pages_.contains(slot)) return;
    store_.cleaned(slot, pages_[slot].dirty);
    pages_[slot].dirty = 0;
  }
  void drop(Slot slot) {
    if (pages_.erase(slot) == 0) return;
    store_.dropped(slot);
    store_.vacated(slot);
  }
  void commit() { store_.commit(); }

  [[nodiscard]] const std::vector<RecoveredBlock>& blocks() const { return found_.blocks; }
  // What fills a page that is stored; nothing: it is damaged, or something else.
  std::optional<std::uint8_t> value(Slot slot, unsigned page, const Pages& pages) {
    if (!store_.verify(slot, pages.stored())) return std::nullopt;
    std::vector<std::byte> content(kPage_bytes);
    store_.read(slot, content, page * kPage_bytes);
    return std::to_integer<std::uint8_t>(content.front());
  }

 private:
  void take(Slot slot) {
    if (pages_.try_emplace(slot).second) store_.taken(slot);
  }

  DurableStore store_;
  Recovered found_;
  std::map<Slot, Pages> pages_;
};

struct History {
  Contents committed;  // what was dirty at the last commit
  std::map<std::pair<Slot, unsigned>, std::set<std::uint8_t>> ever;  // what was ever written
};

// Does what the input says, and commits.
History write_history(testing::SimulatedDisk& disk, std::span<const std::uint8_t> input) {
  Store store(disk, Damaged::refuse);
  History history;
  Contents dirty;
  for (; input.size() >= 2; input = input.subspan(2)) {
    const Slot slot = input[0] % kBlocks;
    const unsigned page = input[0] / kBlocks % kPages;
    const auto value = static_cast<std::uint8_t>(input[1] | 1U);
    const auto forget = [&] {
      std::erase_if(dirty, [&](const auto& each) { return each.first.first == slot; });
    };
    switch (input[1] % 8) {
      case 0:
        store.commit();
        break;
      case 1:
        store.clean(slot);
        forget();
        break;
      case 2:
        store.drop(slot);
        forget();
        break;
      case 3:
        store.zero(slot, page);
        dirty[{slot, page}] = 0;
        break;
      default:
        store.write(slot, page, value);
        dirty[{slot, page}] = value;
        history.ever[{slot, page}].insert(value);
    }
  }
  store.commit();
  history.committed = dirty;
  return history;
}

void damage(testing::SimulatedDisk& disk, std::uint8_t file, std::uint8_t byte) {
  const std::vector<std::string> names = disk.names();
  const std::string& name = names[file % names.size()];
  std::vector<std::byte> content = disk.content(name);
  // Any byte of a short file, and the first of each sector's 64th part of a long one.
  with_damage(content, std::uint64_t{byte} * 255 * (content.size() / 256 + 1) + byte,
              [&] { disk.replace(name, content); });
}

enum class Expected : std::uint8_t { all, all_or_damaged };

void check_committed(Store& store, const History& history, Expected expected) {
  std::map<Slot, RecoveredBlock> blocks;
  for (const RecoveredBlock& block : store.blocks()) blocks.emplace(block.slot, block);
  for (const auto& [place, value] : history.committed) {
    const auto [slot, page] = place;
    const auto block = blocks.find(slot);
    must(block != blocks.end() && block->second.block.value == slot,
         "a block that was dirty is there");
    const Pages& pages = block->second.pages;
    const PageMask mask = page_run(page, 1);
    must((pages.dirty & mask) != 0, "a page that was dirty is dirty");
    if ((pages.valid & mask) == 0) {
      must(expected == Expected::all_or_damaged, "what is not damaged is valid");
      continue;
    }
    must(((pages.zero & mask) != 0) == (value == 0), "zeros are zeros, and nothing else is");
    if (value == 0) continue;
    const auto found = store.value(slot, page, pages);
    must(found == value || (!found && expected == Expected::all_or_damaged),
         "a page holds what was written");
  }
}

void check_salvaged(Store& store, const History& history) {
  for (const RecoveredBlock& block : store.blocks()) {
    for (unsigned page = 0; page < kPages; ++page) {
      if ((block.pages.stored() & page_run(page, 1)) == 0) continue;
      const auto value = store.value(block.slot, page, block.pages);
      const auto ever = history.ever.find({block.slot, page});
      must(!value || (ever != history.ever.end() && ever->second.contains(*value)),
           "no page holds what was never written to it");
    }
  }
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  using namespace nbdstack::fuzz;
  if (size < 2) return 0;
  const std::span<const std::uint8_t> input(data, std::min<std::size_t>(size, 128));
  testing::SimulatedDisk disk;
  const History history = write_history(disk, input.first(input.size() - 2));
  testing::SimulatedDisk whole = disk.copy();
  {
    Store store(whole, Damaged::refuse);
    check_committed(store, history, Expected::all);
  }
  damage(disk, input[input.size() - 2], input.back());
  testing::SimulatedDisk copy = disk.copy();
  succeeds([&] {
    Store store(copy, Damaged::refuse);
    check_committed(store, history, Expected::all_or_damaged);
  });
  Store salvaged(disk, Damaged::salvage);
  check_salvaged(salvaged, history);
  return 0;
}
