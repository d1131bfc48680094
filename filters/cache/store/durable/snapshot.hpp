// A snapshot: the whole index in one file, index.GENERATION, valid before the first record of the
// journal of the same generation.
//
// It is written as index.new, synced and renamed, so that a snapshot under its name is whole. The
// file: a header of 64 bytes, then the slots in chunks of up to 1,024 entries of one size (least
// recently used first), then the ranges of zeros in chunks alike. Each chunk begins with a checksum
// of its own: damage costs a chunk. Numbers are in the machine's byte order.
//
// The last number of the header is 1 since there is a note of the last commit (commit_note.hpp)
// beside a snapshot, and was 0 before. Nothing else has changed: older programs read newer files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "filters/cache/store/durable/index.hpp"

namespace nbdstack {

std::string snapshot_name(std::uint64_t generation);
// What a slot takes in it.
std::uint64_t snapshot_entry_bytes(const PageGeometry& pages);

// Slots in this order first, others that are in use after them. Durable when it returns. `sequence`
// is that of the last record it contains.
void write_snapshot(Directory& directory, const SlotIndex& index, std::span<const Slot> order,
                    std::uint64_t generation, std::uint64_t sequence);

struct SnapshotState {
  std::uint64_t sequence = 0;
  bool intact = false;    // the header; and all chunks, too
  bool readable = false;  // the header
  bool has_note = false;  // there has to be a CommitNote
};

// Adds what it says to the index. What is damaged is left out, and told in `damage`.
SnapshotState read_snapshot(Directory& directory, std::uint64_t generation, SlotIndex& index,
                            std::vector<std::string>& damage);

}  // namespace nbdstack
