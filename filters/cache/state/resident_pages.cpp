// Changes of the pages of a cached block.
#include "common/invariant.hpp"
#include "filters/cache/state/residents.hpp"

namespace nbdstack {

PageMask Residents::pages_of(Slot slot) const {
  return pages_.all(geometry_.length_of(table_[slot].block()));
}

void Residents::set_pages(Slot slot, const Pages& pages) {
  const bool was_unwritten = table_.unwritten().contains(slot);
  table_.set_pages(slot, pages);
  if (!was_unwritten) table_[slot].dirty_since = schedule_.dirty_tick();
}

void Residents::wrote(Slot slot, const WriteReceipt& stored, bool dirty) {
  INVARIANT(is_attached(slot) && table_[slot].pins != 0, slot);
  INVARIANT((stored.pages & ~pages_of(slot)) == 0, slot, stored.pages);
  Pages pages = table_.pages(slot);
  log_.wrote(slot, table_[slot].block(), stored, dirty);
  pages.valid |= stored.pages;
  if (dirty) pages.dirty |= stored.pages;
  pages.zero &= ~stored.pages;
  pages.hole &= ~stored.pages;
  set_pages(slot, pages);
}

void Residents::zeroed(Slot slot, PageMask covered, const WriteReceipt& given_up, bool may_trim) {
  INVARIANT(is_attached(slot) && table_[slot].pins != 0, slot);
  INVARIANT((covered & ~pages_of(slot)) == 0, slot, covered);
  Pages pages = table_.pages(slot);
  log_.zeroed(slot, table_[slot].block(), given_up, may_trim);
  pages.valid |= covered;
  pages.dirty |= covered;
  pages.zero |= covered;
  pages.hole = may_trim ? pages.hole | covered : pages.hole & ~covered;
  set_pages(slot, pages);
}

void Residents::cure(Slot slot, PageMask cured) {
  if (cured == 0) return;
  Pages pages = table_.pages(slot);
  pages.dirty &= ~cured;
  set_pages(slot, pages);
  log_.cleaned(slot, cured);
}

PageMask Residents::forget_clean(Slot slot, PageMask touched) {
  Pages pages = table_.pages(slot);
  const PageMask clean = pages.valid & ~pages.dirty & touched;
  if (clean == 0) return 0;
  fetches_.supersede(table_[slot].block());
  pages.valid &= ~clean;
  pages.zero &= pages.valid;
  pages.hole &= pages.valid;
  set_pages(slot, pages);
  return clean;
}

void Residents::remember(Slot slot, const Pages& before, PageMask again) {
  Pages pages = table_.pages(slot);
  pages.valid |= before.valid & again;
  pages.zero |= before.zero & again;
  pages.hole |= before.hole & again;
  set_pages(slot, pages);
}

void Residents::begin_verify(Slot slot) {
  INVARIANT(table_[slot].unverified && !table_[slot].verifying, slot);
  table_[slot].verifying = true;
  table_.pin(slot);
}

// Clean content can be fetched again. Dirty content is lost, which must not look like success:
// reading its pages is an error until they are written again.
std::optional<Pages> Residents::end_verify(Slot slot, bool looked, bool intact) {
  INVARIANT(table_[slot].verifying && table_[slot].pins != 0, slot);
  table_[slot].verifying = false;
  table_[slot].unverified = !looked && is_attached(slot);
  if (!looked || intact || !is_attached(slot)) return std::nullopt;
  const Pages before = table_.pages(slot);
  Pages pages = before;
  pages.valid &= pages.zero;
  pages.zero &= pages.valid;
  pages.hole &= pages.valid;
  set_pages(slot, pages);
  return before;
}

// --- Write-back of a block ---

Residents::Claim Residents::begin_write_back(Slot slot) {
  INVARIANT(is_attached(slot) && !table_[slot].writing, slot);
  Pages pages = table_.pages(slot);
  Claim claim{.pages = pages, .sent = log_.committed(slot, pages.unwritten())};
  const PageMask held_back = pages.unwritten() & ~claim.sent;
  claim.is_changed = held_back != 0 && log_.changed_since(slot, held_back) != 0;
  INVARIANT((claim.sent & ~pages.unwritten()) == 0, slot, claim.sent, pages.dirty);
  if (claim.sent == 0) return claim;
  pages.dirty &= ~claim.sent;
  table_[slot].writing = true;
  table_[slot].copying = true;
  table_.pin(slot);
  set_pages(slot, pages);
  return claim;
}

void Residents::end_write_back(Slot slot, PageMask sent, PageMask failed) {
  INVARIANT(is_attached(slot) && table_[slot].writing && table_[slot].pins != 0, slot);
  INVARIANT((failed & ~sent) == 0, slot, sent, failed);
  Pages pages = table_.pages(slot);
  const PageMask cleaned = sent & ~failed & ~pages.dirty;
  pages.dirty |= failed & pages.valid;
  table_[slot].copying = false;
  table_[slot].writing = false;
  // The block was just written below, so it is as fresh as a new fetch.
  if (pages.valid == cleaned) table_[slot].cached_since = schedule_.clean_tick();
  set_pages(slot, pages);
  if (cleaned != 0) log_.cleaned(slot, cleaned);
}

}  // namespace nbdstack
