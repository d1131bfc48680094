// A place that keeps objects under keys: an S3 service (http_store.hpp) or a directory
// (directory_store.hpp).
//
// The volume is written against this interface and tested against one in memory. What every store
// promises:
//
//  - A write that returned is durable, and every later read or listing shows it.
//  - What is returned is what was stored, whole or in part: a body that is cut short, too long, of a
//    wrong range, or that does not match the checksums stored with the object is an Error(EIO) that
//    names the object, never data. An object without checksums is read without verification, and the
//    log says so once.
//  - What may pass by itself (a broken connection, a busy service) is tried again inside the store,
//    within the store's bounds of time and attempts; an Error that comes out is final for this
//    request.
//  - Errors are EIO, ETIMEDOUT, EACCES (credentials, permissions), ENOENT (the bucket or directory
//    itself is missing), ENOSPC (quota, full disk); the message carries the object's key and the
//    service's own code and words.
//  - Calls come from any thread, in parallel. Two writes (put, remove) of one key at the same time
//    are the caller's mistake: which of them wins is open.
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
  replace,      // whatever is there
  create_only,  // only where there is no such object
  if_match,     // only over the object that has PutOptions::etag
};

enum class PutResult : std::uint8_t {
  stored,
  exists,       // create_only: there is an object of that key already
  changed,      // if_match: there is another object, or none
  unsupported,  // both: the store knows no such condition; nothing was stored
};

// What is left open by the attempts of a change, also when it fails in the end.
struct Doubt {
  // An attempt was sent whole and never answered, so that it may still be done later, whatever the
  // attempts after it have done.
  bool is_open = false;
  // It was this side that ended such an attempt, after too long a silence: the service may be at it.
  bool was_given_up = false;
  // The last attempt failed of what may pass by itself: that the change failed tells nothing of what
  // the store thinks of it.
  bool may_pass = false;
};

struct PutOptions {
  PutMode mode = PutMode::replace;
  // Of if_match: as the store gave it. Services differ in whether they want its quotes, so it is
  // sent as it stands here (conditional_puts.hpp finds out).
  std::string etag{};
  ObjectAttributes attributes{};
  bool with_checksum = true;  // false: nothing is stored but what is given here
  bool with_pieces = true;    // false: nobody will read parts of it, so they need no checksums
  // It holds a block of the disk, and lies in the storage class that was chosen for those. All other
  // objects are small and often replaced, for which the cheaper classes are the dear ones.
  bool is_block = false;
  // The store may not know conditions: however it refuses one that it has not looked at is
  // `unsupported`, and not an error.
  bool is_trial = false;
  // The caller deals with what is left open. Without this, a conditional put keeps as far from doubt
  // as it can, at the price of a connection of its own.
  Doubt* doubt = nullptr;
};

struct PutOutcome {
  PutResult result = PutResult::stored;
  std::string etag{};    // of the object that was stored; empty where the store gives none
  std::string reason{};  // of `unsupported`, in the service's words
};

// Which bytes of an object are wanted, and how long it has to be as a whole: a part of an object of
// another length is a part of something else (a block that was compressed meanwhile).
struct ObjectPart {
  std::uint64_t offset = 0;
  std::uint64_t object_bytes = 0;
  // The object must still be the one of this ETag: a part of its successor is an Error(EIO). Empty:
  // any object will do.
  std::string etag{};
};

struct ListedObject {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::string etag{};  // as the store gave it; empty where the listing tells none
};

// In a store that keeps what was replaced or removed.
struct ListedVersion {
  std::string key;
  std::string version_id;
  bool is_latest = false;  // what the key shows
  bool is_marker = false;  // it says that there is no object
};

struct Removal {
  std::string key;
  std::string etag{};  // of the object that is meant, in the form of PutOptions::etag; empty: any
  std::string version_id{};  // removes this version for ever, instead of what the key shows
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

  // Reads body.size() bytes of an object that has the length said; any other is an Error. They are
  // verified (part_read.hpp), for which more of the object may be read. False: there is no such
  // object.
  virtual bool get_range(const std::string& key, std::span<std::byte> body,
                         const ObjectPart& part) = 0;

  // Reads a whole object of up to buffer.size() bytes, verified as by get(); a longer one is an
  // Error. Nothing: there is none, and `buffer` is unspecified.
  virtual std::optional<ObjectInfo> fetch(const std::string& key, std::span<std::byte> buffer) = 0;

  // The same of an object whose reader can tell whether it is sound: what `check` throws an Error of
  // EIO about is a body that was damaged on its way, or caught while it was replaced, and is read
  // again as one is that does not match its checksum. Other Errors go through at once.
  using Check = std::function<void(const ObjectInfo& object, std::span<const std::byte> body)>;
  virtual std::optional<ObjectInfo> fetch_checked(const std::string& key,
                                                  std::span<std::byte> buffer, const Check& check) {
    auto object = fetch(key, buffer);
    if (object.has_value()) check(*object, buffer.first(object->size_bytes));
    return object;
  }

  // The same as text of at most `size_limit` bytes.
  virtual std::optional<std::string> get_text(const std::string& key, std::size_t size_limit);

  // What is known of an object without its body; nothing where there is none.
  virtual std::optional<ObjectInfo> look_up(const std::string& key) = 0;

  [[nodiscard]] std::optional<std::uint64_t> size_of(const std::string& key) {
    const auto object = look_up(key);
    return object.has_value() ? std::optional(object->size_bytes) : std::nullopt;
  }

  // Stores `body` with its attributes and its checksum. Where the store cannot keep the attributes:
  // Error(ENOTSUP).
  virtual PutOutcome put(const std::string& key, std::span<const std::byte> body,
                         const PutOptions& options) = 0;

  // Removes objects, many in one request where the store can. Keys that do not exist are no
  // failure. When some could not be removed, the Error names the first of them; the others are gone
  // or not.
  virtual void remove(std::span<const std::string> keys);

  // Removes objects as they are known, many in one request where the store can, and returns those
  // that were not removed because they are other versions, or perhaps are there no more. What
  // remains open, `doubt` tells, also when this throws.
  virtual std::vector<std::string> remove_matching(std::span<const Removal> removals,
                                                   Doubt& doubt) = 0;

  // Visits the objects whose keys begin with `prefix` and sort after `start_after` (empty: from the
  // first), in ascending order of their bytes, page by page, until there are no more or `visit`
  // returns false.
  //
  // A service may list keys in an order of its own. Then all of them are collected and sorted first,
  // as far as memory should be used for that (kSorted_max); more are an Error(EIO).
  virtual void list(const std::string& prefix, const std::string& start_after,
                    const std::function<bool(const ListedObject&)>& visit) = 0;

  static constexpr std::size_t kSorted_max = 1'000'000;

  // The same where the store itself lists in that order. False: it does not, and nothing was
  // visited.
  virtual bool list_in_order(const std::string& prefix, const std::string& start_after,
                             const std::function<bool(const ListedObject&)>& visit) {
    list(prefix, start_after, visit);
    return true;
  }

  // The objects whose keys begin with `prefix`, in whatever order costs least, and without a limit.
  // A store with an order of its own may show an object twice that is changed meanwhile.
  virtual void list_in_any_order(const std::string& prefix,
                                 const std::function<bool(const ListedObject&)>& visit) {
    list(prefix, "", visit);
  }

  // False: the store's own order is known to be another, so that to list a part of the keys takes
  // as long as to list all.
  [[nodiscard]] virtual bool lists_in_order() const { return true; }

  // What stands between `prefix`, which is empty or ends in '/', and the next '/' of keys, each
  // once, in the order of those keys. A store may name some where nothing lies. Here: by one listing
  // for each, which steps over what lies below it.
  virtual std::vector<std::string> directories_below(const std::string& prefix);

  // Visits the versions of all objects whose keys begin with `prefix`, those of one key one behind
  // the other, from the latest on, until there are no more or `visit` returns false. None: the store
  // keeps none.
  virtual void list_versions(const std::string& /*prefix*/,
                             const std::function<bool(const ListedVersion&)>& /*visit*/) {}
  // A put or a removal has shown that the store keeps what was there before.
  [[nodiscard]] virtual bool keeps_versions() const { return false; }

  // What a listing does not show is not there. So it is with a directory; a service may show objects
  // late, or under other names.
  [[nodiscard]] virtual bool lists_are_proof() const { return false; }
};

// Whether a listing shows the object.
inline bool is_listed(ObjectStore& store, const std::string& key) {
  bool found = false;
  store.list_in_any_order(key, [&](const ListedObject& object) {
    found = object.key == key;
    return !found;
  });
  return found;
}

}  // namespace nbdstack
