// Opening volumes of s3backer's, and its mount token.
//
// Only block 0 records the geometry, and what it records may be missing or wrong:
// s3backer_volume.hpp tells how size= and object-size= (s3backer's block size) make up for that.
// Names with and without a hash cannot be mixed: block-hash-prefix= must be what the volume was
// written with. The cipher
// is that of the block that is found first; encrypt= has to agree. Where a passphrase but no
// compression is given, blocks are deflated, as s3backer does.
//
// Nothing in such a volume says whether a passphrase is right but the signatures of its blocks: the
// one that was found first is read for it, before anything is written. A volume without blocks
// takes any passphrase. A read-only one opens all the same: there, a block that is damaged must not
// be in the way of the others.
#pragma once

#include <string>

#include "plugins/s3/layout/s3backer/s3backer_names.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// The prefix that the user means: prefix=, or "KEY/".
std::string s3backer_prefix(const VolumeRequest& request);

// Whether the object is a block of an s3backer volume of that prefix, with or without a hash.
bool is_s3backer_block(const std::string& prefix, const std::string& name);

// Whether a listing in order can still come to a block, of ours too, after this key: their names
// begin with a hexadecimal digit. Saves looking through all that else lies in a bucket.
bool may_be_followed_by_block(const std::string& prefix, const std::string& name);

// Changes nothing in the store. Throws Error: EINVAL as s3backer_geometry() and S3backerCipher do,
// where the names in the bucket are of the other kind or of our own layout, and where what was said
// about encryption is not so; EACCES for a wrong passphrase.
VolumeLayout open_s3backer(ObjectStore& store, const VolumeRequest& request,
                           const std::string& place);

// Says that the volume is in use; with `force`, also where somebody has said so before. Returns what
// tells this token from all others. Throws Error(EBUSY) that tells who and when.
std::string put_mount_token(ObjectStore& store, const VolumeLayout& layout, bool force);
// Nothing happens where the token is not ours any more: somebody has put his over it by force.
void remove_mount_token(ObjectStore& store, const VolumeLayout& layout, const std::string& ours);

}  // namespace nbdstack
