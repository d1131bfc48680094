// Keeps a cache's content over kill -9, power loss, and an orderly stop.
//
// Files in the directory (cache_directory.hpp adds `identity` and `lock`):
//   data, data2  the pages of the slots, two places for each (page_files.hpp)
//   index.N      the index at one moment (snapshot.hpp)
//   journal.N    the changes since then, record by record (record.hpp, journal.hpp)
//   committed    the reach of the last commit (commit_note.hpp)
//
// Guarantees after any crash, for every page on its own:
//  - The effect of everything noted (wrote(), zeroed(), zeros_added(), ...) before a call of
//    commit() that returned is kept, or that of something noted or written later.
//  - What was only published is kept if its content is in the file: after kill -9 that is
//    everything except the pages that were being overwritten at that moment.
//  - No content is mistaken for another: each page or block is compared with its checksum first.
//
// How it works.
//
// An *epoch* is the time between the starts of two commits. A page is *fresh* in an epoch if its
// content was written in it. A slot is *held* while the committed index may call some of its pages
// dirty: then that index, with all stored pages of that slot, must be good after a crash. The rules
// of writing, page by page, under the store's mutex:
//
//   page                                     is written to
//   fresh in this epoch                      its current place: no commit contains it yet
//   changed in the epoch that is being       (waits for that commit: one of its places is
//     committed                               committed, and the other one is about to be)
//   stored, or given up in this epoch, and   its other place: the current one is committed
//     the slot is held
//   anything else                            its current place
//
// Before stored content is overwritten in place, its page is removed from the index if it is clean
// there, by a record `forgotten`. The record may not be durable when the data is; but then nothing
// of the slot was dirty in the committed index, and its checksum detects it. If the page is dirty
// (and fresh, and so not committed), its new checksum is noted when it is written, before wrote(),
// by a record `rewrote`. A commit starts between such overwrites, never during one, so content that
// a commit covers is complete when it is synced. The page is fresh in the epoch in which it was
// overwritten, whenever its wrote() comes: if a commit has begun in between, it has been committed,
// and is not overwritten in place again.
//
// A commit: (1) at one moment under the mutex the journal is cut, the epoch ends, and slots of the
// epoch with dirty pages become held; (2) the journal is written out; (3) data is synced, and data2
// if it was written; (4) a commit record is written and synced; (5) slots of that epoch in which
// nothing was dirty at (1) are not held any more. Any of these steps may come between write() and
// wrote(). write() chose a page's place by what was held then, and the choice stays right, because
// (5) gives back no storage of a slot that is not free (slot_store.hpp has the states). After a
// crash before (4) the state is that of the commit before, whose content has not been touched, or,
// if the record reached the disk, the new one, whose content was durable by (3). Everything noted
// after that is the journal's tail (tail.hpp).
//
// Damage. Every page, record and chunk of the snapshot has a checksum, records are numbered, and
// the note of the last commit records their last number. So a start detects any change of these
// files that loses something committed: damage, a cut, deletion, or an older copy put back
// (recovery.hpp has the consequences). One loss cannot be detected: a commit writes the note but
// does not sync it; starts, stops, and confirm(), which runs every few seconds, sync it. After a
// power loss the note may therefore lack the last few seconds. If the end of the journal with those
// seconds is also lost (the file cut, or sectors of it read as zeros), that looks like a commit
// that never ended. This can hide only one commit: records that were written after it prove it.
// After a kill of the process the note is right.
//
// A slot with pages in data2 uses the storage of two (extra_slots()) until it is free and not held;
// then data2's part is punched: at the next commit, or before the slot is used again.
//
// When the journal is long, a commit starts a new one. The committer then makes a new snapshot from
// the files of the old snapshot and of the journals before the new one: that needs memory for the
// whole index meanwhile, and only this one call waits for it. A failure is logged, and the snapshot
// retried when the journal has grown again. Once there was no room for a journal, a shorter one
// counts as long: otherwise it would fill the disk until no commit can succeed, and no snapshot be
// written.
//
// If there is no room for the journal, publish() and commit() throw (journal.hpp), and the epoch
// continues as if the commit had not begun: its changes count as changed since the commit before,
// and as fresh. Any later call may succeed. write() fails if too much waits to be written to the
// journal. Every other failure to write the journal or to sync anything is final: publish() and
// commit() report it from then on, write() does if it would have to wait for a commit, and reads
// continue.
//
// Memory: 12 bytes and four bits for each slot with up to 16 pages (slot_marks.hpp), and a node for
// each slot with pages in data2, for each that became dirty, or was held and changed, since the
// last commit, and for each range of zeros since then: memory grows with the number of slots
// changed since the last commit. A slot that is filled from below and not held needs no node: its
// content need not survive.
//
// Locks: mutex_ is taken inside the engine's mutex, and is never held across I/O. The journal's own
// mutex is taken inside this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/block/range.hpp"
#include "common/block/run_map.hpp"
#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/sync/insist.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cache/store/durable/commit_note.hpp"
#include "filters/cache/store/durable/journal.hpp"
#include "filters/cache/store/durable/page_files.hpp"
#include "filters/cache/store/durable/recovery.hpp"
#include "filters/cache/store/durable/slot_marks.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

class SlotIndex;

class DurableStore final : public SlotStore {
 public:
  // Takes over the directory: a CacheDirectory whose identity has been claimed. block_size is a
  // power of two, at least a page. `cipher` encrypts the pages, which are in the clear if it is
  // null; it is the same for the whole life of the directory (cache_directory.hpp).
  DurableStore(std::unique_ptr<Directory> directory, std::uint32_t block_size,
               std::uint64_t disk_size_bytes, Damaged damaged = Damaged::refuse,
               std::shared_ptr<const UnitCipher> cipher = nullptr);
  ~DurableStore() override;

  // The part of the recovered content that is kept.
  enum class Keep : std::uint8_t { all, dirty, nothing };
  // Decides it once, before any change. If it throws, the directory stays as it was.
  using Inspect = std::function<Keep(const SlotIndex&, const PageFiles&)>;
  void set_inspect(Inspect inspect) { inspect_ = std::move(inspect); }

  [[nodiscard]] bool is_durable() const override { return true; }
  [[nodiscard]] bool is_found_again() const override { return directory_->is_found_again(); }
  [[nodiscard]] std::string name() const override { return directory_->path() + "/data"; }
  // Reads the index, and changes nothing. Throws if the files cannot be read, or something
  // committed is missing (recovery.hpp). recover() calls it if that was not done yet.
  void load();
  // After load() and before recover(): returns whether anything in the store is not below yet.
  [[nodiscard]] bool holds_unwritten() const;
  // Throws if the files cannot be read, a new snapshot cannot be written, or something committed is
  // missing (recovery.hpp); then nothing in the directory has been changed.
  Recovered recover() override;

  void read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) override;
  WriteReceipt write(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                     PageMask stored) override;
  WriteReceipt forget(Slot slot, PageMask pages, PageMask stored) override;
  // Does nothing while the slot is held: its storage stays until it is used again.
  void discard(Slot slot) override;
  bool verify(Slot slot, PageMask stored) override;

  void taken(Slot slot) override;
  void wrote(Slot slot, BlockNumber block, const WriteReceipt& stored, bool dirty) override;
  void zeroed(Slot slot, BlockNumber block, const WriteReceipt& given_up, bool may_trim) override;
  void forgotten(Slot slot, const WriteReceipt& given_up) override;
  void cleaned(Slot slot, PageMask pages) override;
  void dropped(Slot slot) override;
  void vacated(Slot slot) override;
  void zeros_added(const Range& range, bool may_trim) override;
  void zeros_removed(const Range& range) override;
  [[nodiscard]] PageMask committed(Slot slot, PageMask dirty) const override;
  [[nodiscard]] PageMask changed_since(Slot slot, PageMask dirty) const override;
  [[nodiscard]] bool zeros_committed(const Range& range) const override;
  [[nodiscard]] bool may_reuse(Slot slot) const override;
  [[nodiscard]] std::size_t extra_slots() const override;

  void publish() override;
  void commit() override;
  void confirm() override;
  void close(std::span<const Slot> least_recent_first) override;

  // For tests: journals longer than this, and than twice the snapshot, are replaced.
  void set_shortest_journal_bytes(std::uint64_t bytes) { shortest_journal_bytes_ = bytes; }

  // The content of this store's receipts: the checksums of its pages, in order.
  struct Notes {
    PageMask flipped = 0;    // pages that have changed their place
    PageMask rewritten = 0;  // dirty content that was overwritten
    record::Checksums now{};
    record::Checksums old{};  // of pages that leave the slot; 0 for the others
  };

 private:
  // The changes of a slot in an epoch.
  struct Changes {
    PageMask written = 0;   // fresh
    PageMask given_up = 0;  // were zeroed, forgotten, or dropped
    PageMask replaced = 0;  // are new, and were dirty before
    PageMask dirty_at_end = 0;
  };
  using Epoch = std::unordered_map<Slot, Changes>;

  // The plan of a write().
  struct Placement {
    PageMask copies = 0;     // pages that are written to data2
    PageMask flipped = 0;    // pages that change their place
    PageMask forgotten = 0;  // clean content that is overwritten
    PageMask rewritten = 0;  // dirty content that is overwritten
  };

  std::vector<std::byte> whole_pages(Slot slot, std::span<const std::byte> data,
                                     std::uint32_t offset_in_block, PageMask stored,
                                     std::span<std::uint64_t> old) const;
  [[nodiscard]] static const Notes& notes_of(const WriteReceipt& receipt);
  [[nodiscard]] static Changes changes_in(const Epoch& epoch, Slot slot);
  // These release the mutex for a while, to wait, for I/O, or for a commit: place(), punch_stale(),
  // punch_all_stale(), prepare_next(), begin_closing() and lead_commit().
  Placement place(Slot slot, PageMask touched, PageMask stored) REQUIRES(mutex_);
  [[nodiscard]] bool must_wait(Slot slot, PageMask touched, PageMask stored) const REQUIRES(mutex_);
  void note_overwriting(Slot slot, const Placement& placement, PageMask pages,
                        std::span<const std::uint64_t> old) REQUIRES(mutex_);
  void end_overwriting(Slot slot, const Placement& placement, PageMask pages,
                       std::span<const std::uint64_t> old, std::span<const std::uint64_t> now,
                       bool failed) EXCLUDES(mutex_);
  bool allows(Slot slot, const char* verb, std::initializer_list<SlotUse> uses) REQUIRES(mutex_);
  void begin_use(Slot slot) REQUIRES(mutex_);
  void punch_stale(Slot slot) REQUIRES(mutex_);
  void punch_all_stale() REQUIRES(mutex_);
  void release_if_unused(Slot slot) REQUIRES(mutex_);
  // Index verbs do not fail: they wait for the little memory that they need.
  void append(const record::Event& event) {
    insist([&] { journal_->append(event); });
  }
  Changes& changes_of(Slot slot) REQUIRES(mutex_);

  bool prepare_next() REQUIRES(mutex_);
  CommitNote::Commit begin_closing(bool start_next) REQUIRES(mutex_);
  void make_durable(const CommitNote::Commit& commit, bool with_second) EXCLUDES(mutex_);
  void lead_commit(bool start_next, std::span<const Slot> order) REQUIRES(mutex_);
  void end_epoch() REQUIRES(mutex_);
  void reopen_epoch() REQUIRES(mutex_);
  void replace_snapshot(std::uint64_t generation, std::span<const Slot> order) EXCLUDES(mutex_);
  [[nodiscard]] bool is_long() const REQUIRES(mutex_);
  struct Loaded;
  void with_room(SlotIndex& index, const std::function<void()>& write);
  bool give_back_clean(SlotIndex& index);
  Recovered take_over(const SlotIndex& index, std::uint64_t committed_sequence);
  void punch_unused(const SlotIndex& index);

  std::unique_ptr<Directory> directory_;
  BlockGeometry geometry_;
  PageFiles files_;
  Inspect inspect_;
  const Damaged damaged_;
  std::unique_ptr<Loaded> loaded_;  // from load() to recover()
  // Set after recover().
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<CommitNote> note_;  // written by the committer
  std::uint64_t shortest_journal_bytes_;

  mutable Mutex mutex_;
  // A commit, a punch, or the last overwriting in place that a commit waits for has ended.
  ConditionVariable changed_;
  SlotMarks marks_ GUARDED_BY(mutex_);
  Epoch open_ GUARDED_BY(mutex_);
  Epoch closing_ GUARDED_BY(mutex_);  // of the commit under way
  // The ranges of zeros that were added in these two.
  RunMap<bool> open_zeros_ GUARDED_BY(mutex_);
  RunMap<bool> closing_zeros_ GUARDED_BY(mutex_);
  RunMap<bool> zeros_ GUARDED_BY(mutex_);  // all ranges of zeros
  bool committing_ GUARDED_BY(mutex_) = false;
  bool replacing_ GUARDED_BY(mutex_) = false;       // a new snapshot is being made
  bool cutting_ GUARDED_BY(mutex_) = false;         // a commit waits for overwriting_ to become 0
  std::size_t overwriting_ GUARDED_BY(mutex_) = 0;  // writes over fresh dirty content
  bool second_written_ GUARDED_BY(mutex_) = false;  // data2, since it was synced
  bool note_written_ GUARDED_BY(mutex_) = false;    // since it was synced
  bool lacked_room_ GUARDED_BY(mutex_) = false;     // for the journal, ever
  std::uint64_t committed_sequence_ GUARDED_BY(mutex_) = 0;
  std::uint64_t snapshot_bytes_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ GUARDED_BY(mutex_);           // final
  std::unordered_set<Slot> second_ GUARDED_BY(mutex_);        // slots with storage in data2
  std::unordered_set<Slot> stale_second_ GUARDED_BY(mutex_);  // those of them that do not use it
  std::unordered_set<Slot> punching_ GUARDED_BY(mutex_);      // their storage is being given back
};

}  // namespace nbdstack
