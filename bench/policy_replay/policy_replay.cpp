// The cache's eviction policies over a trace: a Markdown table of misses by policy and cache size,
// and one with a reader of the whole disk beside it.
//
//   policy-replay [--block-size=64K] [--cache-sizes=4M,...,2G] [--scan-request=4K,256K] TRACE
//
// trace.hpp says what a trace looks like, replay.hpp what is counted.

#include <fmt/core.h>
#include <getopt.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/policy_replay/replay.hpp"
#include "bench/policy_replay/trace.hpp"
#include "common/error.hpp"
#include "filters/cache/policy/make_policy.hpp"

namespace nbdstack {
namespace {

constexpr const char* kUsage =
    "usage: policy-replay [--block-size=SIZE] [--cache-sizes=SIZE,...] [--scan-request=SIZE,...]\n"
    "                     TRACE\n"
    "TRACE is op,lba512,sectors with a header line, as it is or compressed by gzip. SIZE may end\n"
    "in K, M or G. A table is printed without a scan, and one for each size of a scan's "
    "requests.\n";

using Sizes = std::vector<std::uint64_t>;

struct Options {
  std::uint64_t block_size = 65536;
  Sizes cache_sizes = {4U << 20U,   8U << 20U,   16U << 20U,  32U << 20U,   64U << 20U,
                       128U << 20U, 256U << 20U, 512U << 20U, 1024U << 20U, 2048U << 20U};
  Sizes scan_requests = {4096, 262144};
  std::string trace;
};

std::uint64_t parse_size(std::string_view option, std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  constexpr std::string_view kSuffixes = "KMG";
  unsigned shift = 0;
  if (suffix.size() == 1 && kSuffixes.find(suffix.front()) != std::string_view::npos) {
    shift = 10 * static_cast<unsigned>(kSuffixes.find(suffix.front()) + 1);
  } else if (!suffix.empty()) {
    number = 0;
  }
  if (failure != std::errc() || number == 0 ||
      number > std::numeric_limits<std::uint64_t>::max() >> shift) {
    throw Error(EINVAL, fmt::format("{}={}: not a size, such as 65536, 64K or 2G", option, text));
  }
  return number << shift;
}

Sizes parse_sizes(std::string_view option, std::string_view text) {
  Sizes sizes;
  while (true) {
    const std::size_t comma = text.find(',');
    sizes.push_back(parse_size(option, text.substr(0, comma)));
    if (comma == std::string_view::npos) return sizes;
    text.remove_prefix(comma + 1);
  }
}

// Returns false if it has printed the usage.
bool parse_options(int argc, char** argv, Options& options) {
  const std::array<option, 5> known{{{"block-size", required_argument, nullptr, 'b'},
                                     {"cache-sizes", required_argument, nullptr, 'c'},
                                     {"scan-request", required_argument, nullptr, 's'},
                                     {"help", no_argument, nullptr, 'h'},
                                     {nullptr, 0, nullptr, 0}}};
  for (int found = 0; (found = getopt_long(argc, argv, "", known.data(), nullptr)) != -1;) {
    if (found == 'b') {
      options.block_size = parse_size("--block-size", optarg);
    } else if (found == 'c') {
      options.cache_sizes = parse_sizes("--cache-sizes", optarg);
    } else if (found == 's') {
      options.scan_requests = parse_sizes("--scan-request", optarg);
    } else {
      fmt::print(found == 'h' ? stdout : stderr, "{}", kUsage);
      return false;
    }
  }
  if (optind + 1 != argc) {
    fmt::print(stderr, "{}", kUsage);
    return false;
  }
  options.trace = argv[optind];
  return true;
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 4> kUnits{"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  for (; unit + 1 < kUnits.size() && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

// One table. A cell: misses, the misses of reads among them, and the share of hits.
void print_table(const Trace& trace, const Options& options, std::uint32_t block_size, Scan scan) {
  if (scan.request_bytes == 0) {
    fmt::print("\nThe trace alone:\n\n");
  } else {
    fmt::print("\nWith a reader of the whole disk beside it, in requests of {}:\n\n",
               size_text(scan.request_bytes));
  }
  std::string titles = "| cache |";
  std::string rule = "|---:|";
  for (const CachePolicy kind : kCachePolicies) {
    titles += fmt::format(" {0} misses | of reads | {0} hits |", word_of(kind));
    rule += "---:|---:|---:|";
  }
  fmt::print("{} {} / {} |\n{}---:|\n", titles, word_of(kCachePolicies.back()),
             word_of(kCachePolicies.front()), rule);
  for (const std::uint64_t cache_bytes : options.cache_sizes) {
    std::string row = fmt::format("| {} |", size_text(cache_bytes));
    std::vector<double> misses;
    for (const CachePolicy kind : kCachePolicies) {
      const ReplayResult result =
          replay(trace, make_eviction_policy(kind), cache_bytes, block_size, scan);
      misses.push_back(static_cast<double>(result.misses));
      row += fmt::format(" {} | {} | {:.2f} % |", result.misses, result.read_misses,
                         100 * (1 - misses.back() / static_cast<double>(result.accesses)));
    }
    fmt::print("{} {:.3f} |\n", row, misses.back() / misses.front());
  }
}

int run(int argc, char** argv) {
  Options options;
  if (!parse_options(argc, argv, options)) return 2;
  const std::uint64_t block_size = options.block_size;
  if (!std::has_single_bit(block_size) || block_size < 512 || block_size > 1U << 31U) {
    throw Error(EINVAL, "--block-size: not a power of two between 512 and 2G");
  }
  const Trace trace = read_trace(options.trace);
  fmt::print("{} requests, a disk of at least {} bytes, blocks of {}.\n", trace.requests.size(),
             trace.disk_bytes, size_text(block_size));
  print_table(trace, options, static_cast<std::uint32_t>(block_size), {});
  for (const std::uint64_t request_bytes : options.scan_requests) {
    print_table(trace, options, static_cast<std::uint32_t>(block_size), {request_bytes});
  }
  return 0;
}

}  // namespace
}  // namespace nbdstack

int main(int argc, char** argv) {
  try {
    return nbdstack::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "policy-replay: {}\n", error.what());
    return 1;
  }
}
