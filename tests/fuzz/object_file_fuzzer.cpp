// Objects in files: a body, checksums of its pieces, and a trailer (object_file.hpp).
//
//   the input     is the end of a file, as it is and with the trailer's own checksum put right
//   any file      is sealed, foreign or damaged, and is read as what it is: of a sealed one the
//                 body is what its checksum says
//   any body      that was written comes back, whole and in part
//   damaged       one byte of such a file, and no read of the body's length returns another one
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/store/directory/object_file.hpp"
#include "plugins/s3/store/learned_pieces.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr std::size_t kTrailer_bytes = 48;
constexpr std::size_t kCheck_bytes = 8;

// A file in memory, by a name under which it can be opened.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("object", MFD_CLOEXEC), "object") {
    must(file_.is_open(), "there are files in memory");
    path_ = fmt::format("/proc/self/fd/{}", file_.descriptor());
  }
  void fill(std::span<const std::byte> content) const {
    must(::ftruncate(file_.descriptor(), 0) == 0, "a file in memory can be cut");
    file_.write_at(content, 0);
  }
  [[nodiscard]] std::vector<std::byte> content() const {
    std::vector<std::byte> bytes(file_.size_bytes());
    file_.read_at(bytes, 0);
    return bytes;
  }
  [[nodiscard]] const File& file() const { return file_; }
  [[nodiscard]] ObjectFile open() const {
    auto object = ObjectFile::open(path_);
    must(object.has_value(), "a file that is there is opened");
    return std::move(*object);
  }

 private:
  File file_;
  std::string path_;
};

std::optional<std::vector<std::byte>> body_of(const ObjectFile& object, std::size_t bytes) {
  std::vector<std::byte> body(bytes);
  if (!succeeds([&] { object.read_body(body); })) return std::nullopt;
  return body;
}

// Checks what is read of a file, whatever is in it.
void check_any(const MemoryFile& memory) {
  const ObjectFile object = memory.open();
  const auto body = body_of(object, object.body_bytes());
  if (!body.has_value()) return;
  must(object.whole_checksum().empty() || object.whole_checksum() == to_hex(xxh3_128(*body)),
       "the body of a sealed file is what its checksum says");
  if (body->empty()) return;
  std::vector<std::byte> part(body->size() / 2 + 1);
  const std::uint64_t offset = body->size() - part.size();
  LearnedPieces learned;
  const bool read = succeeds(
      [&] { object.read_part(part, {.offset = offset, .object_bytes = body->size()}, learned); });
  must(!read || std::equal(part.begin(), part.end(), body->begin() + static_cast<long>(offset)),
       "a part of a body is what the body has there");
}

// The last eight bytes become those that belong to the trailer before them, whose body is
// `body_bytes`.
void put_right(std::vector<std::byte>& content) {
  if (content.size() < kTrailer_bytes) return;
  const std::size_t begin = content.size() - kTrailer_bytes;
  std::uint64_t body_bytes = 0;  // as the trailer says, in the machine's order
  std::memcpy(&body_bytes, &content[begin + 16], sizeof body_bytes);
  const auto tail = std::span(content).subspan(std::min<std::uint64_t>(body_bytes, begin));
  const auto hash = xxh3_128(tail.first(tail.size() - kCheck_bytes));
  std::copy_n(hash.begin(), kCheck_bytes, content.end() - kCheck_bytes);
}

void check_written(const MemoryFile& memory, const std::vector<std::byte>& body,
                   std::uint64_t choice) {
  memory.fill({});
  write_object_file(memory.file(), body);
  must(body_of(memory.open(), body.size()) == body, "a body that was written comes back");
  check_any(memory);
  std::vector<std::byte> content = memory.content();
  with_damage(content, choice, [&] {
    memory.fill(content);
    const auto found = body_of(memory.open(), body.size());
    must(!found.has_value() || *found == body, "a damaged file is no other object");
  });
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  using namespace nbdstack::fuzz;
  static const MemoryFile memory;
  const auto input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> content(input.begin(), input.end());
  memory.fill(content);
  check_any(memory);
  put_right(content);
  memory.fill(content);
  check_any(memory);
  const std::uint64_t choice = xxh3_64(input, 0);
  std::vector<std::byte> body(input.begin(), input.end());
  check_written(memory, body, choice);
  // Long enough to have pieces, now and then: it takes its time.
  if (choice % 16 != 0) return 0;
  body.resize(PieceChecksums::kPiece_bytes_min + 1 + body.size());
  check_written(memory, body, choice / 16);
  return 0;
}
