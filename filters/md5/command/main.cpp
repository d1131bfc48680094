// nbdstack-md5-verify: compares a disk with its md5-file. See man/nbdstack-md5-verify.pod.
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "common/command/print.hpp"
#include "common/command/progress.hpp"
#include "common/error.hpp"
#include "common/sync/system_clock.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/md5/command/known_blocks.hpp"
#include "filters/md5/command/nbd_reader.hpp"
#include "filters/md5/command/readonly_file.hpp"
#include "filters/md5/command/verify_options.hpp"
#include "filters/md5/command/verify_pass.hpp"
#include "filters/md5/command/verify_report.hpp"

namespace nbdstack {
namespace {

constexpr unsigned kHelpers_max = 7;

void say(const char* kind, const std::string& message) {
  fmt::print(stderr, "nbdstack-md5-verify: {}: {}\n", kind, message);
}

void expect_alignment(const NbdReader& reader, const KnownBlocks& known) {
  if (known.geometry().block_size() % reader.alignment_bytes() == 0) return;
  throw Error(EINVAL, fmt::format("the server reads multiples of {} bytes, and the md5-file has "
                                  "digests of blocks of {} bytes: serve the disk by another one",
                                  reader.alignment_bytes(), known.geometry().block_size()));
}

int verify(const VerifyOptions& options) {
  SystemClock clock;
  ReadOnlyFile file(options.md5_file);
  NbdReader reader(options.uri);
  KnownBlocks known(file, reader.size_bytes(), clock,
                    [&](std::uint64_t offset) { return file.next_data(offset); });
  expect_alignment(reader, known);
  const std::string reason = known.compare_disk(reader.identity());
  if (!reason.empty()) {
    say("warning",
        fmt::format("the disk may have changed without the md5-file: {}. Its digests are "
                    "doubtful: a block that differs is no damage",
                    reason));
  }
  WorkerPool hashing(std::min(std::max(std::thread::hardware_concurrency(), 1U) - 1, kHelpers_max));
  Progress progress(style_on_stderr(options.progress), clock, print_on_stderr);
  std::vector<Finding> findings;
  VerifyPass pass(known, reader, hashing, clock, {.requests = options.requests},
                  {.found =
                       [&](const Finding& finding, const std::string& failure) {
                         progress.clear();
                         if (!failure.empty()) {
                           say("error",
                               fmt::format("block {} (offset {}, {} bytes) cannot be read: {}",
                                           finding.block.value, finding.range.offset,
                                           finding.range.length, failure));
                         }
                         if (options.json) {
                           findings.push_back(finding);
                         } else {
                           print(line_of(finding) + "\n");
                         }
                       },
                   .progress =
                       [&](const VerifyResult& so_far, double percent) {
                         if (progress.is_due()) progress.show(in_words(so_far, percent));
                       }});
  const VerifyResult result = pass.run();
  progress.clear();
  if (options.json) {
    print(to_json({.md5_file = options.md5_file,
                   .uri = options.uri,
                   .size_bytes = reader.size_bytes(),
                   .block_size = known.geometry().block_size()},
                  result, std::move(findings)));
  }
  fmt::print(stderr, "{}", summary_of(result, options.md5_file));
  return result.all_is_well() ? 0 : 1;
}

int run(const std::vector<std::string>& words) {
  const VerifyOptions options = parse_verify_options(words);
  if (options.help) {
    print(verify_help());
    return 0;
  }
  if (options.version) {
    print("nbdstack-md5-verify " NBDSTACK_VERSION "\n");
    return 0;
  }
  return verify(options);
}

}  // namespace
}  // namespace nbdstack

int main(int argc, char** argv) {
  // A connection that the server closes is an error to report, not the end of this process.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return 2;
  try {
    return nbdstack::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    nbdstack::say("error", error.what());
    return 2;
  }
}
