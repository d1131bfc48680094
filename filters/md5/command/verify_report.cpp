#include "filters/md5/command/verify_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/approximate_size.hpp"
#include "common/utc_text.hpp"

namespace nbdstack {
namespace {

const char* name_of(Damage damage) {
  switch (damage) {
    case Damage::lost:
      return "lost";
    case Damage::old:
      return "old";
    case Damage::damaged:
      return "damaged";
    case Damage::unreadable:
      return "unreadable";
  }
  return nullptr;
}

std::string time_of(const Finding& finding) {
  return utc_text(finding.written_at_s);
}

}  // namespace

std::string line_of(const Finding& finding) {
  return fmt::format("{} offset={} length={} written={} {}", finding.block.value,
                     finding.range.offset, finding.range.length, time_of(finding),
                     name_of(finding.damage));
}

std::string in_words(const VerifyResult& so_far, double percent) {
  return fmt::format("{:.0f} %: {} read, {} damaged", percent, approximate_size(so_far.bytes),
                     so_far.wrong() + so_far.unreadable);
}

std::string summary_of(const VerifyResult& result, const std::string& md5_file) {
  std::string text = fmt::format("{} blocks: {} verified, {} unknown", result.blocks,
                                 result.verified, result.unknown());
  const std::uint64_t doubtful = result.doubtful_right + result.doubtful_different;
  if (doubtful > 0) {
    text += fmt::format(", {} doubtful ({} right, {} different)", doubtful, result.doubtful_right,
                        result.doubtful_different);
  }
  if (result.changed > 0) text += fmt::format(", {} changed meanwhile", result.changed);
  text += fmt::format(", {} damaged", result.wrong());
  if (result.wrong() > 0) {
    text += fmt::format(" ({} lost, {} old)", result.lost, result.old);
  }
  if (result.unreadable > 0) text += fmt::format(", {} unreadable", result.unreadable);
  text += "\n";
  if (result.nothing_matched()) {
    text += fmt::format(
        "none of {} blocks holds what {} says: it is another disk's, or this disk was replaced or "
        "lost\n",
        result.wrong(), md5_file);
  }
  return text;
}

std::string to_json(const VerifiedDisk& disk, const VerifyResult& result,
                    std::vector<Finding> findings) {
  std::sort(findings.begin(), findings.end(),
            [](const Finding& one, const Finding& other) { return one.block < other.block; });
  nlohmann::ordered_json json;
  json["md5-file"] = disk.md5_file;
  json["uri"] = disk.uri;
  json["size"] = disk.size_bytes;
  json["block-size"] = disk.block_size;
  json["blocks"] = result.blocks;
  json["verified"] = result.verified;
  json["unknown"] = result.unknown();
  json["doubtful-right"] = result.doubtful_right;
  json["doubtful-different"] = result.doubtful_different;
  json["changed"] = result.changed;
  json["lost"] = result.lost;
  json["old"] = result.old;
  json["damaged"] = result.damaged;
  json["unreadable"] = result.unreadable;
  json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    json["findings"].push_back({{"block", finding.block.value},
                                {"offset", finding.range.offset},
                                {"length", finding.range.length},
                                {"written", time_of(finding)},
                                {"state", name_of(finding.damage)}});
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace nbdstack
