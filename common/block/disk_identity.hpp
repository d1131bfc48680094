// What a layer tells of the disk behind it: which disk it is, and whether this server may write it.
//
// Whatever a layer above remembers (cached blocks, extents, zeros, digests) is a copy of one disk,
// true in one writer's term. The export's name says neither: a volume may be shown under every
// name, and another host may have written since the memory was saved. The identity says both, and
// travels as the text that nbdkit hands up as the export's description:
//
//   nbdstack-disk id=s3-0f1e2d3c4b5a69788796a5b4c3d2e1f0 size=10737418240 term=7 since=5
//   unchanged=6 right=held server=9d4e1f0a6b7c8d92                              (on one line)
//
//   id      which disk: the same under every export name, on every host, in every life of a server
//   size    bytes of that disk. Filters in between hand the text on unread; where one of them shows
//           a part of the disk, the size differs, and identity_of() tells nothing
//   term    the number of the writer whose view this is, higher than those before it; absent: not
//           counted
//   since   nothing was changed in a term after this one and before `term`; comes with `term`
//   unchanged  the terms in between, with commas, or "none"; absent: whatever number lies there
//   right   may this server write?
//             none      it holds no right and needs none, or nobody keeps count (readers, own=none):
//                       another writer may be at work at this moment
//             held      it is the only writer
//             doubtful  it was, and cannot know at present whether it still is
//             lost      another one is
//   server  the process that tells this, where it does: another one's clients may write without
//           that being seen here (nbdkit's nbd plugin hands the text on)
//
// What was true in term T is still true in `term` where T is `term`, `since`, or one of `unchanged`.
// Another T, also one that lies between them, is of a writer that the disk knows nothing of: it was
// brought back from a copy that is older than that writer.
//
// A layer may be asked again at any time; the answer changes when the right to write does. Fields
// that this version does not know are ignored, so that more may be told later.
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
  // In order; nothing: all numbers between the two.
  std::optional<std::vector<std::uint64_t>> unchanged = std::nullopt;

  // Whether what was true of the disk in the term `then` still is.
  [[nodiscard]] bool still_true(std::uint64_t then) const;

  friend bool operator==(const WriterTerm&, const WriterTerm&) = default;
};

struct DiskIdentity {
  std::string id;  // letters, digits, '-', '_', '.' and ':', 1 to 128 of them
  std::uint64_t size_bytes = 0;
  std::optional<WriterTerm> term;
  WriteRight right = WriteRight::none;
  std::string server = {};  // empty: not told

  // Nothing where the text is not of this kind: a description that somebody else wrote.
  static std::optional<DiskIdentity> parse(std::string_view description);
  [[nodiscard]] std::string to_text() const;

  friend bool operator==(const DiskIdentity&, const DiskIdentity&) = default;
};

// What `layer` tells, if it is about a disk of the layer's own size. Null: nothing is known.
std::shared_ptr<const DiskIdentity> identity_of(Layer& layer);

}  // namespace nbdstack
