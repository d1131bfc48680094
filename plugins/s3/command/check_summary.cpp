#include "plugins/s3/command/check_summary.hpp"

#include <fmt/core.h>

#include <cstdio>

#include "common/approximate_size.hpp"

namespace nbdstack {
namespace {

void print_others(const char* what, const OtherObjects& others) {
  if (others.count == 0) return;
  fmt::print(stderr, "{} {}, such as {}\n", others.count, what, others.examples.front());
}

void print_old(const OldObjects& old, bool renewed) {
  print_others("object(s) without a checksum, of which nothing but the length is verified",
               old.unverified);
  print_others("object(s) with a checksum of the whole only, so that reading a part reads all",
               old.whole_only);
  if (renewed) {
    fmt::print(stderr, "{} object(s) were given all checksums\n", old.renewed);
  } else if (old.unverified.count + old.whole_only.count > 0) {
    fmt::print(stderr, "--renew gives these objects all checksums\n");
  }
}

}  // namespace

std::string in_words(const CheckResult& so_far) {
  const auto percent = so_far.position_percent;
  return fmt::format("{}{} objects, {}, {} damaged",
                     percent.has_value() ? fmt::format("{:.0f} %: ", *percent) : "", so_far.objects,
                     approximate_size(so_far.bytes), so_far.damaged);
}

void print_remarks(const CheckResult& result, bool renewed) {
  print_others("object(s) behind the end of the disk, which a resize to the present size removes",
               result.behind_end);
  print_others("object(s) that do not belong to the volume", result.foreign);
  print_old(result.old, renewed);
}

}  // namespace nbdstack
