// Measures the search for zeros (common/block/zeros.hpp) beside plain reading of memory.
//
//     BUILD/bench/zero-scan
//
// Buffers of zeros, which have to be searched to the end: in the first cache, in the second, and
// far larger than any. In GiB/s, the best of several rounds; all in one run, so read the ratios.
//
// is_zero   what the layers use
// read      the buffer's 64-bit words OR'ed, as the compiler vectorises it
// memchr    the C library's search for a byte that is not there
// memcmp    the C library's comparison with a second buffer of zeros, which reads twice as much
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "common/block/zeros.hpp"

namespace nbdstack {
namespace {

using Bytes = std::vector<std::byte>;
using Method = std::function<bool(const Bytes&)>;

constexpr unsigned kRounds = 7;
constexpr std::size_t kBytesPerRound = 1ULL << 30U;

std::uint64_t words_ored(const Bytes& bytes) {
  std::uint64_t all = 0;
  for (std::size_t at = 0; at + sizeof all <= bytes.size(); at += sizeof all) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    all |= word;
  }
  return all;
}

// In GiB/s. What a method answers is used, or the compiler would leave it out.
double best_speed(const Bytes& bytes, const Method& method) {
  const std::size_t repeats = std::max<std::size_t>(1, kBytesPerRound / bytes.size());
  double best_s = 1e9;
  for (unsigned round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    bool right = true;
    for (std::size_t at = 0; at < repeats; ++at) right = method(bytes) && right;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (!right) fmt::print("a buffer of zeros was found to be something else\n");
    best_s = std::min(best_s, took.count());
  }
  const double gibibytes = static_cast<double>(repeats * bytes.size()) / (1ULL << 30U);
  return gibibytes / best_s;
}

void run() {
  fmt::print("| buffer | is_zero | read | memchr | memcmp |\n|---|---|---|---|---|\n");
  for (const std::size_t size :
       std::array<std::size_t, 4>{4U << 10U, 64U << 10U, 1U << 20U, 512U << 20U}) {
    const Bytes bytes(size);
    const Bytes zeros(size);
    const std::array<Method, 4> methods{
        [](const Bytes& given) { return is_zero(given); },
        [](const Bytes& given) { return words_ored(given) == 0; },
        [](const Bytes& given) { return std::memchr(given.data(), 1, given.size()) == nullptr; },
        [&](const Bytes& given) {
          return std::memcmp(given.data(), zeros.data(), given.size()) == 0;
        },
    };
    fmt::print("| {} KiB |", size >> 10U);
    for (const Method& method : methods) fmt::print(" {:.1f} |", best_speed(bytes, method));
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace nbdstack

int main() {
  nbdstack::run();
}
