// The identity of a disk that a layer reports, and whether this server may write the disk.
//
// Everything that a layer above remembers (cached blocks, extents, zeros, digests) is a copy of one
// disk, true in one writer's term. The export's name determines neither: a volume may have any
// name, and another host may have written since the memory was saved. The identity determines both.
// It travels as the text that nbdkit passes up as the export's description:
//
//   nbdstack-disk id=s3-0f1e2d3c4b5a69788796a5b4c3d2e1f0 size=10737418240 term=7 since=5
//   unchanged=6 right=held server=9d4e1f0a6b7c8d92                              (on one line)
//
//   id      the disk: the same under every export name, on every host, in every run of a server
//   size    bytes of that disk. Filters in between pass the text on unread; if one of them shows a
//           part of the disk, the size differs, and identity_of() returns null
//   term    the number of the writer whose view this is, higher than those before it; absent if
//           terms are not counted
//   since   nothing was changed in a term after this one and before `term`; comes with `term`
//   unchanged  the terms in between, with commas, or "none"; absent: all numbers
//   right   may this server write?
//             none      it holds no right and needs none, or rights are not tracked (readers,
//                       own=none): another writer may be active at this moment
//             held      it is the only writer
//             doubtful  it was, and cannot know at present whether it still is
//             lost      another server is
//   server  the process that reports this, if it does: another one's clients may write unseen by
//           this server (nbdkit's nbd plugin passes the text on)
//
// Knowledge of term T is still true in `term` if T is `term`, `since`, or one of `unchanged`. Any
// other T, also one that lies between them, belongs to a writer unknown to the disk: the disk was
// restored from a copy that is older than that writer.
//
// A layer may be queried again at any time; the reply changes when the right to write does. Fields
// unknown to this version are ignored, so that later versions may add some.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

class Layer;

enum class WriteRight : std::uint8_t { none, held, doubtful, lost };

struct WriterTerm {
  std::uint64_t term = 0;
  std::uint64_t since = 0;  // at most `term`
  // In order; if absent, all numbers between the two.
  std::optional<std::vector<std::uint64_t>> unchanged = std::nullopt;

  // Returns whether knowledge of the disk in the term `then` is still true.
  [[nodiscard]] bool still_true(std::uint64_t then) const;

  friend bool operator==(const WriterTerm&, const WriterTerm&) = default;
};

struct DiskIdentity {
  std::string id;  // letters, digits, '-', '_', '.' and ':', 1 to 128 of them
  std::uint64_t size_bytes = 0;
  std::optional<WriterTerm> term;
  WriteRight right = WriteRight::none;
  std::string server = {};  // empty if not reported

  // Returns nothing if the text is no such identity, but another description.
  static std::optional<DiskIdentity> parse(std::string_view description);
  [[nodiscard]] std::string to_text() const;

  friend bool operator==(const DiskIdentity&, const DiskIdentity&) = default;
};

// Returns the identity that `layer` reports, if its size is the layer's own; null if unknown.
std::shared_ptr<const DiskIdentity> identity_of(Layer& layer);

}  // namespace nbdstack
