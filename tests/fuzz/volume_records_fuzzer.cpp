// The small records of a volume: its descriptor (volume_descriptor.hpp), the mark of a deletion
// (deletion_mark.hpp), its lease (lease_record.hpp).
//
//   any text           what is accepted as one of them is accepted again as it is written out, and
//                      then says the same
//   a lease, accepted  can be shown in a log: printable, and no longer than its fields may be
//   a descriptor       its sizes are possible; that of a deleted volume is none
#include <algorithm>
#include <bit>

#include "plugins/s3/command/deletion_mark.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "plugins/s3/store/record_reader.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

const std::string kName = "v/object";

// What a record says, as it is written.
template <typename Record>
std::optional<Record> check_rewritten(const std::string& text) {
  auto record = accepted([&] { return Record::parse(text, kName); });
  if (!record.has_value()) return std::nullopt;
  const std::string written = record->to_json();
  const auto again = accepted([&] { return Record::parse(written, kName); });
  must(again.has_value(), "what is written of an accepted record is accepted");
  must(again->to_json() == written, "what is written of an accepted record says the same");
  return record;
}

void check_descriptor(const VolumeDescriptor& descriptor) {
  must(descriptor.size_bytes > 0 && std::bit_width(descriptor.size_bytes) < 64,
       "a size is one that NBD has");
  must(std::has_single_bit(descriptor.object_size) &&
           descriptor.object_size >= kObjectSize_bytes_min &&
           descriptor.object_size <= kObjectSize_bytes_max,
       "an object-size is a power of two that is served");
  must(!descriptor.encryption || descriptor.framed, "an encrypted volume has frames");
  must(!descriptor.encryption || !fault_of(descriptor.encryption->wrapped_key.cost),
       "no cost is accepted that cannot be paid");
}

void check_lease(const LeaseRecord& lease) {
  const std::string words = lease.owner_in_words();
  must(is_printable_ascii(words), "a log can show who has a lease");
  must(words.size() < 1024, "a log has room for who has a lease");
  must(!lease.term || is_possible(*lease.term), "a term is one that is possible");
  for (const LeaseRecord::State state : {LeaseRecord::State::held, LeaseRecord::State::released}) {
    LeaseRecord replaced = lease;
    replaced.state = state;
    must(is_possible(term_after(&replaced, "another")), "there is a term behind every other");
  }
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  const auto descriptor = fuzz::check_rewritten<VolumeDescriptor>(text);
  if (descriptor.has_value()) fuzz::check_descriptor(*descriptor);
  if (const auto lease = fuzz::check_rewritten<LeaseRecord>(text)) fuzz::check_lease(*lease);
  if (const auto mark = DeletionMark::parse(text)) {
    fuzz::must(!descriptor.has_value(), "the mark of a deletion is no descriptor");
    const auto again = DeletionMark::parse(mark->to_json());
    fuzz::must(
        again && again->size_bytes == mark->size_bytes && again->object_size == mark->object_size,
        "a mark that is written says the same");
  }
  return 0;
}
