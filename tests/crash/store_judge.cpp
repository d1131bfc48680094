// StoreWorkload: what makes things durable, crashes, and what is right after one.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "tests/crash/store_workload.hpp"

namespace nbdstack::testing {
bool StoreWorkload::is_in(PageMask mask, std::uint64_t page) {
  return ((mask >> (page % kPagesPerBlock)) & 1U) != 0;
}

void StoreWorkload::fail(const std::string& what) {
  if (fault_.empty()) fault_ = what;
}

void StoreWorkload::on_operation(const SimulatedDisk::Operation& operation) {
  if (nested_ || !fault_.empty()) return;
  nested_ = true;
  if (!older_) judge_crash();
  const bool beside = in_commit_ && operation.kind == SimulatedDisk::Kind::sync &&
                      (operation.name == "data" || operation.name.starts_with("journal"));
  for (std::uint64_t steps = beside ? pick(4) : 0; steps > 0 && fault_.empty(); --steps) {
    nested_ = false;
    const bool in_commit = in_commit_;
    step_beside_commit();
    in_commit_ = in_commit;
    nested_ = true;
  }
  nested_ = false;
}

// Now and then the recovery itself crashes, too.
void StoreWorkload::judge_crash() {
  ++crash_points_;
  SimulatedDisk crashed = disk_.copy();
  crashed.crash(random_());
  if (pick(4) == 0) {
    std::uint64_t left = pick(12);
    crashed.set_hook([&](const SimulatedDisk::Operation&) {
      if (left-- == 0) throw Error(EIO, "the machine stops here");
      ++crash_points_;
    });
    try {
      store_on(crashed)->recover();
    } catch (const Error&) {
      ++crash_points_;
    }
    crashed.set_hook({});
    crashed.crash(random_());
  }
  judge(crashed, Exact::no, nullptr);
}

std::optional<StoreWorkload::View> StoreWorkload::judge(SimulatedDisk& disk, Exact exact,
                                                        std::vector<PageContent>* found,
                                                        Damage damage) {
  const std::unique_ptr<DurableStore> opened = store_on(disk);
  DurableStore& store = *opened;
  View view;
  const Recovered recovered = store.recover();
  std::set<std::uint64_t> blocks;
  for (const RecoveredBlock& block : recovered.blocks) {
    Pages pages = block.pages;
    if (!blocks.insert(block.block.value).second) fail("a block is in two slots");
    if (block.slot >= recovered.slots) fail("a slot is not below Recovered::slots");
    if (pages.damaged() != 0 && damage == Damage::none) fail("damage without a reason");
    if (!store.verify(block.slot, pages.stored())) {
      const bool matters = (pages.stored() & pages.dirty) != 0 || exact == Exact::yes;
      if (matters && damage == Damage::none) {
        fail(fmt::format("content of block {} is damaged: valid {:x} dirty {:x}", block.block.value,
                         pages.valid, pages.dirty));
      }
      pages.valid &= pages.zero;
    }
    if (!view.slots.emplace(block.slot, Block{block.block, pages}).second) fail("a slot twice");
  }
  for (const RecoveredZeros& zeros : recovered.zeros) {
    for (std::uint64_t at = zeros.range.offset; at < zeros.range.end(); at += kBlock_bytes) {
      view.zeros.insert(at / kBlock_bytes);
      if (blocks.contains(at / kBlock_bytes)) fail("a block is in a slot and in a range of zeros");
    }
  }
  for (std::uint64_t page = 0; page < history_.pages() && fault_.empty(); ++page) {
    PageContent content{};
    if (!judge_page(store, view, page, exact, &content)) return std::nullopt;
    if (found != nullptr) (*found)[page] = content;
  }
  if (!fault_.empty()) return std::nullopt;
  return view;
}

bool StoreWorkload::judge_page(DurableStore& store, const View& view, std::uint64_t page,
                               Exact exact, PageContent* found) {
  std::array<std::byte, kPage_bytes> bytes{};
  const char* where = "below";
  fill(bytes, page, below_[page]);
  if (view.zeros.contains(page / kPagesPerBlock)) {
    bytes.fill(std::byte{0});
    where = "zeros";
  }
  for (const auto& [slot, block] : view.slots) {
    if (block.number.value != page / kPagesPerBlock) continue;
    if (is_in(block.pages.damaged(), page)) return true;  // an error to read, and in the log
    if (!is_in(block.pages.valid, page)) continue;
    if (is_in(block.pages.zero, page)) {
      bytes.fill(std::byte{0});
      where = "a zero page";
    } else {
      where = is_in(block.pages.dirty, page) ? "a dirty page" : "a clean page";
      store.read(slot, bytes, static_cast<std::uint32_t>(page % kPagesPerBlock * kPage_bytes));
    }
    if (!is_in(block.pages.dirty, page) && !holds(bytes, page, below_[page])) {
      fail(fmt::format("page {} is clean, but not what is below", page));
    }
  }
  const bool right =
      is_pending(page, bytes) || (exact == Exact::yes ? holds(bytes, page, history_.latest(page))
                                                      : history_.allows(page, bytes));
  if (!right) {
    fail(fmt::format("page {} ({}) holds what it must not, after crash point {}", page, where,
                     crash_points_));
    return false;
  }
  std::uint64_t word = 0;
  for (std::size_t sector = 0; sector < kSectors; ++sector) {
    std::memcpy(&word, &bytes[sector * kSector_bytes], sizeof word);
    (*found)[sector] = word >> 32U;
  }
  return true;
}

void StoreWorkload::publish() {
  store_->publish();
  if (pick(4) != 0) return;
  SimulatedDisk killed = disk_.copy();
  judge(killed, Exact::yes, nullptr);
}

void StoreWorkload::commit() {
  const PageHistory::Moment moment = history_.now();
  committing_ = std::exchange(changed_, {});
  in_commit_ = true;
  store_->commit();
  in_commit_ = false;
  committing_.clear();
  history_.made_durable(moment);
}

void StoreWorkload::restart() {
  while (!pending_.empty()) end_store(0);
  while (!write_backs_.empty()) end_write_back();
  const PageHistory::Moment moment = history_.now();
  std::vector<Slot> order;
  for (const auto& [slot, block] : view_.slots) order.push_back(slot);
  std::shuffle(order.begin(), order.end(), random_);
  store_->close(order);
  history_.made_durable(moment);
  disk_.set_hook({});
  store_ = store_on(disk_);
  Recovered recovered = store_->recover();
  std::vector<Slot> found;
  for (const RecoveredBlock& block : recovered.blocks) found.push_back(block.slot);
  std::erase_if(order, [&](Slot slot) { return view_.slots.at(slot).pages.valid == 0; });
  if (found != order) fail("an orderly stop did not keep the blocks, or not their order");
  for (const RecoveredBlock& block : recovered.blocks) {
    if (block.pages != view_.slots[block.slot].pages) fail("pages differ after an orderly stop");
  }
  start(std::move(recovered));
}

void StoreWorkload::crash_and_restart() {
  disk_.set_hook({});
  SimulatedDisk crashed = disk_.copy();
  crashed.crash(random_());
  std::vector<PageContent> found(kPages);
  auto view = judge(crashed, Exact::no, &found);
  if (!view) return;
  for (std::uint64_t page = 0; page < kPages; ++page) history_.reset(page, found[page]);
  disk_ = std::move(crashed);
  store_ = store_on(disk_);
  start(store_->recover());
  // As the engine does at the first use of a block.
  const auto slots = view_.slots;
  for (const auto& [slot, cached] : slots) {
    if (!store_->verify(slot, cached.pages.stored())) drop(slot);
  }
}

}  // namespace nbdstack::testing
