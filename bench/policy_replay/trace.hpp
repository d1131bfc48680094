// A recording of what a client asked of a disk.
//
// The file is text, compressed by gzip or not: a header line, then a line for each request,
//
//   op,lba512,sectors
//   r,0,8
//   w,2048,256
//
// with r for a read and w for a write, the first 512-byte sector and the number of sectors, which
// is not 0. Requests stand in the order in which they were made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

struct TracedRequest {
  Range bytes;
  bool is_write = false;
};

struct Trace {
  std::vector<TracedRequest> requests;
  std::uint64_t disk_bytes = 0;  // the end of the last byte asked for
};

// Throws Error, naming file and line.
Trace read_trace(const std::string& path);

}  // namespace nbdstack
