#include "bench/policy_replay/trace.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kSector_bytes = 512;
constexpr std::uint64_t kMostSectors = std::uint64_t{1} << 54U;  // 8 EiB

struct Close {
  void operator()(gzFile file) const { gzclose(file); }
};
using File = std::unique_ptr<gzFile_s, Close>;

// Takes a number from the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || number > kMostSectors) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return number;
}

std::optional<TracedRequest> parse(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (!line.starts_with("r,") && !line.starts_with("w,")) return std::nullopt;
  const bool is_write = line.front() == 'w';
  line.remove_prefix(2);
  const auto first = take_number(line);
  if (!first || !line.starts_with(',')) return std::nullopt;
  line.remove_prefix(1);
  const auto sectors = take_number(line);
  if (!sectors || *sectors == 0 || !line.empty()) return std::nullopt;
  return TracedRequest{{*first * kSector_bytes, *sectors * kSector_bytes}, is_write};
}

}  // namespace

Trace read_trace(const std::string& path) {
  const File file(gzopen(path.c_str(), "rb"));
  if (!file) throw system_error(errno, "{}", path);
  Trace trace;
  std::array<char, 128> line{};
  for (int number = 1; gzgets(file.get(), line.data(), line.size()) != nullptr; ++number) {
    if (number == 1) continue;
    const auto request = parse(line.data());
    if (!request) {
      throw Error(EINVAL, fmt::format("{}, line {}: expected op,lba512,sectors", path, number));
    }
    trace.requests.push_back(*request);
    trace.disk_bytes = std::max(trace.disk_bytes, request->bytes.end());
  }
  int failure = Z_OK;
  const std::string reason = gzerror(file.get(), &failure);
  if (failure != Z_OK) throw Error(EIO, fmt::format("{}: {}", path, reason));
  if (trace.requests.empty()) throw Error(EINVAL, fmt::format("{}: no requests in it", path));
  return trace;
}

}  // namespace nbdstack
