// Checks whether an md5-file belongs to the served disk: a file of another disk would declare every
// block of this one damaged, and forget the other's as this one is written.
#pragma once

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "filters/md5/md5_file.hpp"

namespace nbdstack {

// Reads a few blocks that `file` knows, from all over the disk. Throws Error(EINVAL) if there are
// at least two and none is right. A few wrong ones are damage, which reads find. Returns whether
// one was right: if not, there were too few to judge.
bool expect_same_disk(const Md5File& file, Layer& below, const BlockGeometry& geometry);

}  // namespace nbdstack
