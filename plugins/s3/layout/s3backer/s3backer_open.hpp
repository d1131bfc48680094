// Opens volumes of s3backer's, and handles its mount token.
//
// Only block 0 records the geometry, and its record may be missing or wrong: s3backer_volume.hpp
// describes how size= and object-size= (s3backer's block size) make up for that. Names with and
// without a hash cannot be mixed: block-hash-prefix= must be what the volume was written with. The
// cipher is that of the first block found; encrypt= has to agree. If a passphrase but no
// compression is given, blocks are deflated, as by s3backer.
//
// Only the signatures of a volume's blocks show whether a passphrase is right: the first block
// found is read for that, before anything is written. A volume without blocks accepts any
// passphrase. A read-only open ignores a damaged block, so that the others can be read.
#pragma once

#include <string>

#include "plugins/s3/layout/s3backer/s3backer_names.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Returns the prefix of the request: prefix=, or "KEY/".
std::string s3backer_prefix(const VolumeRequest& request);

// Returns whether the object is a block of that prefix's s3backer volume, with or without a hash.
bool is_s3backer_block(const std::string& prefix, const std::string& name);

// Returns whether an ordered listing can still reach a block, of ours too, after this key: their
// names begin with a hexadecimal digit. Saves listing everything else in a bucket.
bool may_be_followed_by_block(const std::string& prefix, const std::string& name);

// Changes nothing in the store. Throws Error: EINVAL as s3backer_geometry() and S3backerCipher do,
// if the names in the bucket are of the other kind or of our own layout, or if the encryption
// differs from the request; EACCES for a wrong passphrase.
VolumeLayout open_s3backer(ObjectStore& store, const VolumeRequest& request,
                           const std::string& place);

// Marks the volume as in use; with `force`, even if it is marked already. Returns the identity of
// this token. Throws Error(EBUSY) that names the host and time of a mount that is in the way.
std::string put_mount_token(ObjectStore& store, const VolumeLayout& layout, bool force);
// Does nothing if the token is no longer ours: another server has replaced it by force.
void remove_mount_token(ObjectStore& store, const VolumeLayout& layout, const std::string& ours);

}  // namespace nbdstack
