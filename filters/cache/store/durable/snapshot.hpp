// A snapshot: the whole index in one file, index.GENERATION, valid before the first record of the
// journal of the same generation.
//
// It is written as index.new, synced and renamed, so that a snapshot under its name is whole. The
// file: a header of 64 bytes, then the slots in chunks of up to 1,024 entries of one size (least
// recently used first), then the ranges of zeros in chunks alike. Each chunk begins with a checksum
// of its own: damage costs a chunk. Numbers are in the machine's byte order.
//
// The last number of the header is 1 if there is a note of the last commit (commit_note.hpp) beside
// the snapshot; it was 0 before there were notes. Nothing else has changed: older programs read
// newer files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "filters/cache/store/durable/index.hpp"

namespace nbdstack {

std::string snapshot_name(std::uint64_t generation);
// Returns the size of a slot's entry.
std::uint64_t snapshot_entry_bytes(const PageGeometry& pages);

// Writes the slots in this order first, then the others that are in use. The file is durable when
// this returns. `sequence` is that of the last record it contains.
void write_snapshot(Directory& directory, const SlotIndex& index, std::span<const Slot> order,
                    std::uint64_t generation, std::uint64_t sequence);

struct SnapshotState {
  std::uint64_t sequence = 0;
  bool intact = false;    // the header and all chunks are
  bool readable = false;  // the header is
  bool has_note = false;  // it requires a CommitNote
};

// Adds its slots and zeros to the index. Damaged parts are left out, and described in `damage`.
SnapshotState read_snapshot(Directory& directory, std::uint64_t generation, SlotIndex& index,
                            std::vector<std::string>& damage);

}  // namespace nbdstack
