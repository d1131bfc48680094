// Whether an md5-file belongs to the disk that is served: a file of another disk would call every
// block of this one damaged, and forget the other's as this one is written.
#pragma once

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "filters/md5/md5_file.hpp"

namespace nbdstack {

// Reads a few blocks that `file` knows, from all over the disk. Where there are at least two and
// none holds what it must, that is an Error(EINVAL). A few that differ are damage, which reads
// find. Whether one was right: else there were too few to judge.
bool expect_same_disk(const Md5File& file, Layer& below, const BlockGeometry& geometry);

}  // namespace nbdstack
