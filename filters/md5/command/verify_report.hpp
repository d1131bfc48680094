// The output of nbdstack-md5-verify, in words for people and in lines and JSON for scripts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "filters/md5/command/verify_pass.hpp"

namespace nbdstack {

// Returns "12 offset=786432 length=65536 written=2026-03-01T12:00:00Z lost"
std::string line_of(const Finding& finding);

// Returns the present state, for a line that shows progress.
std::string in_words(const VerifyResult& so_far, double percent);

// Returns the result in a few lines.
std::string summary_of(const VerifyResult& result, const std::string& md5_file);

struct VerifiedDisk {
  std::string md5_file;
  std::string uri;
  std::uint64_t size_bytes = 0;
  std::uint32_t block_size = 0;
};
// `findings` may be in any order.
std::string to_json(const VerifiedDisk& disk, const VerifyResult& result,
                    std::vector<Finding> findings);

}  // namespace nbdstack
