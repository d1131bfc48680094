// A place that keeps objects under keys: an S3 service (http_store.hpp) or a directory
// (directory_store.hpp).
//
// The volume is written against this interface and tested against one in memory. What every store
// promises:
//
//  - A write that returned is durable, and every later read or listing shows it.
//  - What is returned is what was stored, whole: a body that is cut short, too long, of a wrong
//  range, or that does not
//    match the checksum stored with the object is an Error(EIO) that names the object, never data.
//  - What may pass by itself (a broken connection, a busy service) is tried again inside the store,
//  within the store's
//    bounds of time and attempts; an Error that comes out is final for this request.
//  - Errors are EIO, ETIMEDOUT, EACCES (credentials, permissions), ENOENT (the bucket or directory
//  itself is missing),
//    ENOSPC (quota, full disk); the message carries the object's key and the service's own code and
//    words.
//  - Calls come from any thread, in parallel. Two writes (put, remove) of one key at the same time
//  are the caller's mistake:
//    which of them wins is open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nbdstack {

enum class PutMode : std::uint8_t {
  replace,      // whatever is there
  create_only,  // only where there is no such object
};

enum class PutResult : std::uint8_t {
  stored,
  exists,  // create_only: there is an object of that key already
};

struct ListedObject {
  std::string key;
  std::uint64_t size_bytes = 0;
};

class ObjectStore {
 public:
  ObjectStore() = default;
  ObjectStore(const ObjectStore&) = delete;
  ObjectStore& operator=(const ObjectStore&) = delete;
  virtual ~ObjectStore() = default;

  // Reads the whole object into `body`, whose size is the object's: any other size is an Error. The
  // object's checksum, where it has one, is verified. False: there is no such object, and `body` is
  // unspecified.
  virtual bool get(const std::string& key, std::span<std::byte> body) = 0;

  // Reads body.size() bytes from `offset` on; the object must reach that far. Checksums cover whole
  // objects, so a part is not verified. False: there is no such object.
  virtual bool get_range(const std::string& key, std::span<std::byte> body,
                         std::uint64_t offset) = 0;

  // An object whose size is not known beforehand, at most `size_limit` bytes (more is an Error).
  virtual std::optional<std::string> get_text(const std::string& key, std::size_t size_limit) = 0;

  // The size of an object; nothing where there is none.
  virtual std::optional<std::uint64_t> size_of(const std::string& key) = 0;

  // Stores `body` together with its checksum.
  virtual PutResult put(const std::string& key, std::span<const std::byte> body, PutMode mode) = 0;

  // Removes objects, many in one request where the store can. Keys that do not exist are no
  // failure. When some could not be removed, the Error names the first of them; the others are gone
  // or not.
  virtual void remove(std::span<const std::string> keys) = 0;

  // Visits the objects whose keys begin with `prefix` and sort after `start_after` (empty: from the
  // first), in ascending order of their bytes, page by page, until there are no more or `visit`
  // returns false.
  virtual void list(const std::string& prefix, const std::string& start_after,
                    const std::function<bool(const ListedObject&)>& visit) = 0;
};

}  // namespace nbdstack
