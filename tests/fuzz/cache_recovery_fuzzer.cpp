// What a start finds in a cache directory (recovery.hpp): the snapshot (snapshot.hpp), journals of
// records (record.hpp, tail.hpp), and the note of the last commit (commit_note.hpp).
//
//   the input        is: the snapshot's length in two bytes, whose highest bit is set for a disk of
//                    larger blocks, a snapshot, a note of 80 bytes, a journal. It is taken as it
//                    is, and as files of which every checksum is right and every record follows the
//                    one before: what lies behind the checksums is reached. Slots are taken modulo
//                    4096, but for those of 3 * 2^30 and above, which no such cache can have: an
//                    index has as many as the highest one named
//   any files        are refused, or give an index; twice the same
//   any index        is the same when it is read back from the snapshot that is written of it
//   a record         comes back as it went in; one damaged byte, and it is none
#include <algorithm>
#include <bit>
#include <cstring>

#include "common/hash/xxh3.hpp"
#include "filters/cache/store/durable/commit_note.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/index_survey.hpp"
#include "filters/cache/store/durable/journal.hpp"
#include "filters/cache/store/durable/page_files.hpp"
#include "filters/cache/store/durable/record.hpp"
#include "filters/cache/store/durable/recovery.hpp"
#include "filters/cache/store/durable/snapshot.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::fuzz {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kGeneration = 3;
constexpr std::uint64_t kDisk_bytes = 128 * 16384 - 1000;
const BlockGeometry kNarrow(kDisk_bytes, 16384);  // four pages a block
const BlockGeometry kWide(kDisk_bytes, 131072);   // 32, for which masks are wider in snapshots
constexpr std::uint32_t kSlots = 4096;
constexpr std::uint32_t kImpossible = 3U << 30U;

// --- Numbers in the files ---

template <typename Number>
Number number_at(std::span<const std::byte> bytes, std::size_t at) {
  Number number = 0;
  std::memcpy(&number, &bytes[at], sizeof number);
  return number;
}

template <typename Number>
void put(std::span<std::byte> bytes, std::size_t at, Number number) {
  std::memcpy(&bytes[at], &number, sizeof number);
}

void wrap_slot(std::span<std::byte> bytes, std::size_t at) {
  const auto slot = number_at<std::uint32_t>(bytes, at);
  if (slot < kImpossible) put(bytes, at, slot % kSlots);
}

// --- What makes the files right ---

struct Files {
  BlockGeometry geometry;
  Bytes snapshot;
  Bytes note;
  Bytes journal;
};

Files files_of(std::string_view input) {
  const auto take = [&](std::size_t length) {
    const std::string_view part = input.substr(0, length);
    input.remove_prefix(part.size());
    return bytes_of(part);
  };
  Bytes head = take(2);
  head.resize(2);
  const auto length = number_at<std::uint16_t>(head, 0);
  Files files{.geometry = (length & 0x8000U) == 0 ? kNarrow : kWide,
              .snapshot = take(length % 2048),
              .note = take(80),
              .journal = {}};
  files.journal = take(input.size());
  return files;
}

void put_right_snapshot(Bytes& snapshot, bool is_wide) {
  constexpr std::size_t kHeader = 64;
  const std::size_t entry_bytes = is_wide ? 64 : 32;
  constexpr std::size_t kZeros = 24;
  if (snapshot.size() < kHeader) return;
  // As many slots as the header says and there is room for, then ranges of zeros.
  const std::span<std::byte> all(snapshot);
  std::span<std::byte> rest = all.subspan(kHeader);
  const auto end_chunk = [&](std::size_t entries, std::size_t bytes) {
    if (entries == 0) return;
    put(rest, 0, xxh3_64(rest.subspan(8, entries * bytes), kGeneration));
    rest = rest.subspan(8 + entries * bytes);
  };
  const auto room_for = [&](std::size_t bytes) {
    return rest.size() < 8 ? 0 : (rest.size() - 8) / bytes;
  };
  const std::uint64_t slots =
      std::min<std::uint64_t>(number_at<std::uint64_t>(all, 32) % 16, room_for(entry_bytes));
  for (std::size_t i = 0; i < slots; ++i)
    wrap_slot(rest, 8 + i * entry_bytes + (is_wide ? 56 : 28));
  end_chunk(slots, entry_bytes);
  const std::uint64_t zeros =
      std::min<std::uint64_t>(number_at<std::uint64_t>(all, 40) % 16, room_for(kZeros));
  end_chunk(zeros, kZeros);
  put(all, 8, std::uint64_t{0x3158444953444e42});
  put(all, 16, kGeneration);
  put(all, 32, slots);
  put(all, 40, zeros);
  put(all, 48, std::uint64_t{entry_bytes});
  put(all, 0, xxh3_64(all.subspan(8, kHeader - 8), kGeneration));
}

void put_right_note(Bytes& note) {
  constexpr std::uint64_t kMagic = 0x3154494d4d4f4342;
  for (std::size_t at = 0; at + 40 <= note.size(); at += 40) {
    const auto place = std::span(note).subspan(at, 40);
    if (number_at<std::uint64_t>(place, 16) == 0) continue;  // no turn: left as it is
    put(place, 8, kMagic);
    put(place, 0, xxh3_64(place.subspan(8), kMagic));
  }
}

// One record after the other. A sequence of 0 becomes the next number.
void put_right_journal(Bytes& journal, std::uint64_t sequence) {
  constexpr std::size_t kRecord = 64;
  for (std::size_t at = 0; at + kRecord <= journal.size();) {
    const auto rest = std::span(journal).subspan(at);
    const auto kind = static_cast<std::uint8_t>(std::to_integer<unsigned>(rest[12]) % 10 + 1);
    put(rest, 12, kind);
    const bool has_pages = kind <= Record{.event = record::Forgotten{}}.kind();
    const auto pages = number_at<std::uint64_t>(rest, 48);
    auto pairs = static_cast<std::uint16_t>(has_pages ? std::popcount(pages) : 0);
    // As the input has it, where it says so: a record may have a checksum too few.
    const bool is_given = (rest[13] & std::byte{0x80}) != std::byte{};
    if (is_given) pairs = number_at<std::uint16_t>(rest, 14) % (PageGeometry::kMostPages + 1);
    if (at + kRecord + pairs * 16U > journal.size()) pairs = 0;
    put(rest, 14, pairs);
    const std::uint32_t length = kRecord + pairs * 16U;
    put(rest, 8, length);
    wrap_slot(rest, 32);
    const bool is_commit = kind == Record{.event = record::Commit{}}.kind();
    if (number_at<std::uint64_t>(rest, 16) == 0) put(rest, 16, is_commit ? sequence : ++sequence);
    put(rest, 0, xxh3_64(rest.subspan(8, length - 8), kGeneration));
    at += length;
  }
}

void put_right(Files& files) {
  put_right_snapshot(files.snapshot, files.geometry.block_size() == kWide.block_size());
  put_right_note(files.note);
  put_right_journal(files.journal,
                    files.snapshot.size() < 64 ? 0 : number_at<std::uint64_t>(files.snapshot, 24));
}

// --- Properties ---

bool is_same(const SlotIndex& a, const SlotIndex& b) {
  const Slot slots = std::max(a.slots(), b.slots());
  for (Slot slot = 0; slot < slots; ++slot) {
    const SlotIndex::Entry one = slot < a.slots() ? a[slot] : SlotIndex::Entry{};
    const SlotIndex::Entry other = slot < b.slots() ? b[slot] : SlotIndex::Entry{};
    if (one.in_use != other.in_use) return false;
    if (one.in_use && (one.block != other.block || one.pages != other.pages ||
                       one.copies != other.copies || one.checksum != other.checksum)) {
      return false;
    }
  }
  const Range all{0, a.geometry().size_bytes()};
  return a.zeros().overlapping(all) == b.zeros().overlapping(all);
}

void check_index(SlotIndex& index, const PageFiles& files) {
  const std::vector<Slot> order = index.order();
  must(std::all_of(order.begin(), order.end(), [&](Slot slot) { return index[slot].in_use; }),
       "slots in order are in use");
  for (const UnwrittenPart& part : unwritten_parts(index)) {
    must(Range{0, kDisk_bytes}.contains(part.range), "what is dirty lies on the disk");
  }
  testing::SimulatedDisk disk;
  const auto directory = disk.directory();
  write_snapshot(*directory, index, order, kGeneration, 77);
  SlotIndex again(index.geometry());
  std::vector<std::string> damage;
  const SnapshotState state = read_snapshot(*directory, kGeneration, again, damage);
  must(damage.empty() && state.intact && state.sequence == 77,
       "a snapshot that is written is intact");
  must(is_same(index, again), "a snapshot says what the index does");
  drop_clean(index, files);
}

void check_files(const Files& input) {
  testing::SimulatedDisk disk;
  if (!input.snapshot.empty()) disk.replace(snapshot_name(kGeneration), input.snapshot);
  if (!input.note.empty()) {
    Bytes note = input.note;
    note.insert(note.begin() + static_cast<long>(std::min<std::size_t>(note.size(), 40)), 512 - 40,
                std::byte{0});
    disk.replace(CommitNote::kName, note);
  }
  disk.replace(Journal::name_of(kGeneration), input.journal);
  disk.replace("data", Bytes(32768, std::byte{1}));
  disk.replace("data2", Bytes(100, std::byte{2}));
  const auto directory = disk.directory();
  const PageFiles files(*directory, input.geometry.block_size());
  const FoundFiles found = find_files(*directory);
  for (const Damaged damaged : {Damaged::refuse, Damaged::salvage}) {
    SlotIndex index(input.geometry);
    SlotIndex again(input.geometry);
    const bool first = succeeds([&] { load_index(*directory, found, files, damaged, index); });
    const bool second = succeeds([&] { load_index(*directory, found, files, damaged, again); });
    must(first == second, "the same files are refused, or not, each time");
    must(first || damaged == Damaged::refuse, "whoever asks for salvage is not refused");
    if (!first) continue;
    must(index.slots() <= kSlots, "what no cache can have is believed of none");
    must(is_same(index, again), "the same files say the same each time");
    check_index(index, files);
  }
  SlotIndex committed(input.geometry);
  succeeds([&] { load_committed(*directory, kGeneration + 1, files, committed); });
}

void check_records(std::span<const std::byte> journal, const BlockGeometry& geometry,
                   std::uint64_t choice) {
  for (std::size_t at = 0; at < journal.size();) {
    const auto decoded = decode(journal.subspan(at), kGeneration, geometry);
    if (!decoded.has_value()) return;
    Bytes written;
    encode(decoded->record, kGeneration, written);
    must(written.size() == decoded->length, "a record is as long as it says");
    const auto again = decode(written, kGeneration, geometry);
    Bytes twice;
    if (again.has_value()) encode(again->record, kGeneration, twice);
    must(twice == written, "a record comes back as it went in");
    with_damage(written, choice,
                [&] { must(!decode(written, kGeneration, geometry), "a damaged record is none"); });
    at += decoded->length;
  }
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  fuzz::Files files = fuzz::files_of(text);
  const std::uint64_t choice = xxh3_64(std::as_bytes(std::span(text)), 0);
  // As it is, now and then: it ends at the first checksum.
  if (choice % 16 == 0) fuzz::check_files(files);
  fuzz::put_right(files);
  fuzz::check_files(files);
  fuzz::check_records(files.journal, files.geometry, choice);
  return 0;
}
