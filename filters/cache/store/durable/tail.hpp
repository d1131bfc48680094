// The tail of the journal: the records after the last commit, which are true as far as they reached
// the disk.
//
// A record of the tail may be on disk without its content, or with content that a later change,
// whose record is lost, has overwritten. Records without content are trusted: pages that are zeros,
// clean, or forgotten, slots that are dropped, ranges of zeros. All of these happened, in this
// order, and none depends on anything else.
//
// New content is a candidate. For each page the tail keeps two versions: the last candidate, and
// the certain one, which is the committed state changed by records of the other kinds. In the end
// the page in the file is compared with the page's own checksum:
//
//   the candidate is there                      it is taken
//   it is not; what is certain was stored:
//     and is there, in its own copy             it is taken: the state before
//     and was clean                             it is forgotten: it has been overwritten in place
//     and was dirty                             damage: that copy was not to be touched
//   it is not; what is certain is zeros         zeros
//   it is not; nothing is certain               the page is not cached
//
// The pages of such a block that the tail does not name are compared, too, all together: if nothing
// of the block was dirty when it was committed, they may have been overwritten in place, and the
// new dirty page would be lost with them when the block's checksum is compared later. They are
// forgotten then. (If something was dirty, no page was overwritten in place: see
// durable_store.hpp.)
//
// A slot that is given to another block in the tail starts empty: its drop is a record of the tail.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>

#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

class Tail {
 public:
  Tail(SlotIndex& index, const PageFiles& files) : index_(index), files_(files) {}

  void apply(const Record& record);
  // Compares the candidates with the files. Damage is logged.
  void finish();

 private:
  struct Candidate {
    std::uint64_t checksum = 0;
    bool second = false;  // lies in data2
    bool dirty = false;
    std::uint64_t certain_checksum = 0;  // where what is certain is stored
  };
  using Candidates = std::map<unsigned, Candidate>;  // by page

  void apply(const record::Wrote& wrote, const Record& record);
  void apply(const record::Rewrote& rewrote, const Record& record);
  void apply(const record::Zeroed& zeroed, const Record& record);
  void apply(const record::Forgotten& forgotten, const Record& record);
  void apply(const record::Cleaned& cleaned, const Record& record);
  template <typename Other>
  void apply(const Other& other, const Record& record);
  template <typename GivenUp>
  void give_up(GivenUp given_up, std::uint64_t sequence);
  [[nodiscard]] bool is_there(Slot slot, unsigned page, bool second, std::uint64_t checksum) const;
  void check_unnamed(Slot slot, PageMask named);
  bool decide(Slot slot, unsigned page, const Candidate& candidate);

  SlotIndex& index_;
  const PageFiles& files_;
  std::unordered_map<Slot, Candidates> candidates_;
};

}  // namespace nbdstack
