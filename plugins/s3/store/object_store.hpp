// Stores objects under keys: an S3 service (http_store.hpp) or a directory (directory_store.hpp).
//
// The volume is written against this interface and tested against one in memory. Every store
// guarantees:
//
//  - A write that returned is durable, and every later read or listing shows it.
//  - A read returns what was stored, whole or in part: a body that is cut short, too long, of a
//    wrong range, or does not match the checksums stored with the object is an Error(EIO) that
//    names the object, never data. An object without checksums is read without verification, and
//    the log says so once.
//  - Transient failures (a broken connection, a busy service) are retried inside the store, within
//    its bounds of time and attempts. An Error from the store is final for this request.
//  - Errors are EIO, ETIMEDOUT, EACCES (credentials, permissions), ENOENT (the bucket or directory
//    itself is missing), ENOSPC (quota, full disk); the message contains the object's key and the
//    service's own code and words.
//  - Any thread may call, in parallel. Two concurrent writes (put, remove) of one key are the
//    caller's mistake: either may win.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/store/object_attributes.hpp"

namespace nbdstack {

enum class PutMode : std::uint8_t {
  replace,      // any object or none
  create_only,  // only if there is no such object
  if_match,     // only over the object that has PutOptions::etag
};

enum class PutResult : std::uint8_t {
  stored,
  exists,       // create_only: the key has an object already
  changed,      // if_match: there is another object, or none
  unsupported,  // both: the store knows no such condition; nothing was stored
};

// The uncertainty that the attempts of a change leave, even if it fails in the end.
struct Doubt {
  // An attempt was sent whole and never answered, so the service may still execute it, whatever the
  // attempts after it have done.
  bool is_open = false;
  // This side ended such an attempt after too long a silence: the service may still work on it.
  bool was_given_up = false;
  // The last attempt failed with a transient error, which does not show whether the store accepts
  // the change.
  bool may_pass = false;
};

struct PutOptions {
  PutMode mode = PutMode::replace;
  // For if_match, as the store returned it. Some services want its quotes and some do not, so it is
  // sent verbatim (conditional_puts.hpp finds out).
  std::string etag{};
  ObjectAttributes attributes{};
  bool with_checksum = true;  // if false, only what is given here is stored
  bool with_pieces = true;    // if false, parts are never read and need no checksums
  // The object is a block of the disk, in the storage class chosen for blocks. All other objects
  // are small and often replaced, which costs more in the cheaper classes.
  bool is_block = false;
  // The store may not know conditions: if it refuses one without checking it, in whatever way, that
  // is `unsupported`, and not an error.
  bool is_trial = false;
  // The caller handles doubt. Without this, a conditional put avoids doubt as far as it can, at the
  // price of a connection of its own.
  Doubt* doubt = nullptr;
};

struct PutOutcome {
  PutResult result = PutResult::stored;
  std::string etag{};    // of the stored object; empty if the store returns none
  std::string reason{};  // of `unsupported`, in the service's words
};

// A range of bytes, and the length of the whole object: a part of an object of another length is a
// part of another content (a block that was compressed meanwhile).
struct ObjectPart {
  std::uint64_t offset = 0;
  std::uint64_t object_bytes = 0;
  // The object must still have this ETag: a part of its successor is an Error(EIO). Any object is
  // accepted if this is empty.
  std::string etag{};
};

struct ListedObject {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::string etag{};  // as the store returned it; empty if the listing has none
};

// For a store that keeps replaced and removed objects.
struct ListedVersion {
  std::string key;
  std::string version_id;
  bool is_latest = false;  // what the key shows
  bool is_marker = false;  // a delete marker: there is no object
};

struct Removal {
  std::string key;
  std::string etag{};        // the object's, in the form of PutOptions::etag; any object if empty
  std::string version_id{};  // removes this version for ever, instead of what the key shows
};

class ObjectStore {
 public:
  ObjectStore() = default;
  ObjectStore(const ObjectStore&) = delete;
  ObjectStore& operator=(const ObjectStore&) = delete;
  virtual ~ObjectStore() = default;

  // Reads the whole object into `body`, whose size is the object's: any other size is an Error. The
  // object's checksum, if it has one, is verified. Returns false, with `body` unspecified, if there
  // is no such object.
  virtual bool get(const std::string& key, std::span<std::byte> body) = 0;

  // Reads body.size() bytes of an object of the given length; any other length is an Error. They
  // are verified (part_read.hpp), for which more of the object may be read. Returns false if there
  // is no such object.
  virtual bool get_range(const std::string& key, std::span<std::byte> body,
                         const ObjectPart& part) = 0;

  // Reads a whole object of up to buffer.size() bytes, verified as by get(); a longer one is an
  // Error. Returns nothing, with `buffer` unspecified, if there is none.
  virtual std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) = 0;

  // Like fetch(), for a reader that can check the body itself. If `check` throws Error(EIO), the
  // body was damaged on its way or read while it was replaced, and is read again like one that does
  // not match its checksum. Other Errors propagate at once.
  using Check = std::function<void(const ObjectInfo& object, std::span<const std::byte> body)>;
  virtual std::optional<ObjectInfo> fetch_checked(const std::string& key,
                                                  std::span<std::byte> buffer, const Check& check) {
    auto object = fetch(key, buffer);
    if (object.has_value()) check(*object, buffer.first(object->size_bytes));
    return object;
  }

  // Like fetch(), as text of at most `size_limit` bytes.
  virtual std::optional<std::string> get_text(const std::string& key, std::size_t size_limit);

  // Returns the properties of an object without its body, or nothing if there is none.
  virtual std::optional<ObjectInfo> look_up(const std::string& key) = 0;

  [[nodiscard]] std::optional<std::uint64_t> size_of(const std::string& key) {
    const auto object = look_up(key);
    return object.has_value() ? std::optional(object->size_bytes) : std::nullopt;
  }

  // Stores `body` with its attributes and its checksum. Throws Error(ENOTSUP) if the store cannot
  // keep the attributes.
  virtual PutOutcome put(const std::string& key, std::span<const std::byte> body,
                         const PutOptions& options) = 0;

  // Removes objects, many in one request if the store can. Keys that do not exist are no failure.
  // If some could not be removed, the Error names the first of them; the others may be removed or
  // not.
  virtual void remove(std::span<const std::string> keys);

  // Removes objects if they are still the given ones, many in one request if the store can. Returns
  // those that were not removed because they are other versions, or may not exist any more. `doubt`
  // reports what is left open, even if this throws.
  virtual std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                                   Doubt& doubt) = 0;

  // Visits the objects whose keys begin with `prefix` and sort after `start_after` (empty: from the
  // first), in ascending order of their bytes, page by page, until there are no more or `visit`
  // returns false.
  //
  // A service may list keys in an order of its own. Then all of them are collected and sorted
  // first, up to kSorted_max, to bound the memory; more are an Error(EIO).
  virtual void list(const std::string& prefix, const std::string& start_after,
                    const std::function<bool(const ListedObject&)>& visit) = 0;

  static constexpr std::size_t kSorted_max = 1'000'000;

  // Like list(), if the store itself lists in that order. Returns false, without a visit, if not.
  virtual bool list_in_order(const std::string& prefix, const std::string& start_after,
                             const std::function<bool(const ListedObject&)>& visit) {
    list(prefix, start_after, visit);
    return true;
  }

  // Visits the objects whose keys begin with `prefix`, in the cheapest order, without a limit. A
  // store with an order of its own may show an object twice if it changes meanwhile.
  virtual void list_in_any_order(const std::string& prefix,
                                 const std::function<bool(const ListedObject&)>& visit) {
    list(prefix, "", visit);
  }

  // Returns false if the store is known to have another order, so that listing a part of the keys
  // takes as long as listing all.
  [[nodiscard]] virtual bool lists_in_order() const { return true; }

  // Returns the names between `prefix`, which is empty or ends in '/', and the next '/' of keys,
  // each once, in the order of those keys. A store may return some without objects. This version
  // lists once for each name, and skips the keys below it.
  virtual std::vector<std::string> directories_below(const std::string& prefix);

  // Visits the versions of all objects whose keys begin with `prefix`, grouped by key, from the
  // latest on, until there are no more or `visit` returns false. A store that keeps no versions
  // visits none.
  virtual void list_versions(const std::string& /*prefix*/,
                             const std::function<bool(const ListedVersion&)>& /*visit*/) {}
  // Returns whether a put or a removal has shown that the store keeps the previous version.
  [[nodiscard]] virtual bool keeps_versions() const { return false; }

  // Returns whether an object that a listing does not show does not exist. That is true of a
  // directory; a service may show objects late, or under other names.
  [[nodiscard]] virtual bool lists_are_proof() const { return false; }
};

// Returns whether a listing shows the object.
inline bool is_listed(ObjectStore& store, const std::string& key) {
  bool found = false;
  store.list_in_any_order(key, [&](const ListedObject& object) {
    found = object.key == key;
    return !found;
  });
  return found;
}

}  // namespace nbdstack
